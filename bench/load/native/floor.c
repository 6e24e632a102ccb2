/* The floor: what a request costs when only the kernel and a hundred lines of C stand between two sockets.
 *
 * A single-threaded, level-triggered epoll server that is correct for what it claims: HTTP/1.1 keep-alive and
 * HTTP/1.0, pipelining with one write per batch, partial heads, bodies and writes, Content-Length bodies, a required
 * Host, bounded buffers (400, 404, 405, 413, 431, 501). No routing table, no handlers, no timeouts: a framework cannot
 * be cheaper than this, and is compared with it. Its answers carry the same fields as cello's.
 *
 *     floor PORT
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MESSAGE_LIMIT = 64 * 1024, HEAD_LIMIT = 16 * 1024, OUT_LIMIT = 256 * 1024, EVENTS = 256 };

typedef struct {
    int fd;
    bool closing;       /* close once `waiting` is written */
    char *partial;      /* an incomplete message, or NULL */
    size_t partial_len;
    char *waiting;      /* answer bytes the socket did not take yet, or NULL */
    size_t waiting_len;
} Connection;

static char in[MESSAGE_LIMIT];
static char out[OUT_LIMIT];
static size_t out_len;
static char date_field[48];
static int poller;

static void refresh_date(void) {
    static time_t written;
    time_t now = time(NULL);
    if (now == written) return;
    struct tm utc;
    strftime(date_field, sizeof date_field, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", gmtime_r(&now, &utc));
    written = now;
}

static void put(const char *bytes, size_t len) {
    memcpy(out + out_len, bytes, len);
    out_len += len;
}

static void answer(const char *status, const char *type, const char *body, size_t len, bool keep_alive, bool head_only) {
    put("HTTP/1.1 ", 9);
    put(status, strlen(status));
    put("\r\nContent-Type: ", 16);
    put(type, strlen(type));
    char digits[20];
    char *first = digits + sizeof digits;
    size_t rest = len;
    do *--first = (char)('0' + rest % 10); while (rest /= 10);
    put("\r\nContent-Length: ", 18);
    put(first, (size_t)(digits + sizeof digits - first));
    put("\r\n", 2);
    put(date_field, strlen(date_field));
    if (!keep_alive) put("Connection: close\r\n", 19);
    put("\r\n", 2);
    if (!head_only) put(body, len);
}

/* Refuse a message that cannot be read further; always the last answer of a connection. */
static long refuse(const char *status) {
    answer(status, "text/plain", "", 0, false, false);
    return -1;
}

static bool is(const char *at, size_t len, const char *word) {
    return len == strlen(word) && memcmp(at, word, len) == 0;
}

static void respond(const char *method, size_t method_len, const char *path, size_t path_len, const char *body,
                    size_t body_len, bool keep_alive) {
    static const char greeting[] = "{\"message\":\"Hello, World!\"}";
    const char *text = "text/plain; charset=utf-8", *json = "application/json";
    bool head_only = is(method, method_len, "HEAD"), get = head_only || is(method, method_len, "GET");
    if (is(path, path_len, "/echo")) {
        if (is(method, method_len, "POST")) answer("200 OK", json, body, body_len, keep_alive, false);
        else answer("405 Method Not Allowed", text, "", 0, keep_alive, head_only);
    } else if (!get) {
        answer("405 Method Not Allowed", text, "", 0, keep_alive, false);
    } else if (is(path, path_len, "/")) {
        answer("200 OK", text, "Hello, World!", 13, keep_alive, head_only);
    } else if (is(path, path_len, "/json") || is(path, path_len, "/async") || is(path, path_len, "/suspend")) {
        answer("200 OK", json, greeting, sizeof greeting - 1, keep_alive, head_only);
    } else if (path_len > 7 && path_len < 64 && memcmp(path, "/users/", 7) == 0) {
        char user[96];
        int len = snprintf(user, sizeof user, "{\"id\":\"%.*s\"}", (int)(path_len - 7), path + 7);
        answer("200 OK", json, user, (size_t)len, keep_alive, head_only);
    } else {
        answer("404 Not Found", text, "", 0, keep_alive, head_only);
    }
}

/* Answer the message at `at`. Returns its length, 0 when it is incomplete, -1 when the connection must close. */
static long serve_one(const char *at, size_t len) {
    const char *end = memmem(at, len < HEAD_LIMIT ? len : HEAD_LIMIT, "\r\n\r\n", 4);
    if (!end) return len < HEAD_LIMIT ? 0 : refuse("431 Request Header Fields Too Large");
    const char *line_end = memchr(at, '\r', (size_t)(end - at) + 1);
    const char *method_end = memchr(at, ' ', (size_t)(line_end - at));
    if (!method_end || method_end == at) return refuse("400 Bad Request");
    const char *path = method_end + 1, *path_end = memchr(path, ' ', (size_t)(line_end - path));
    if (!path_end || path_end == path || *path != '/') return refuse("400 Bad Request");
    bool modern = is(path_end + 1, (size_t)(line_end - path_end - 1), "HTTP/1.1");
    if (!modern && !is(path_end + 1, (size_t)(line_end - path_end - 1), "HTTP/1.0")) return refuse("400 Bad Request");

    bool keep_alive = modern, has_length = false;
    int hosts = 0;
    size_t body_len = 0;
    for (const char *field = line_end + 2; field < end; field = line_end + 2) {
        line_end = memmem(field, (size_t)(end - field) + 2, "\r\n", 2);
        const char *colon = memchr(field, ':', (size_t)(line_end - field));
        if (!colon || colon == field || *field == ' ' || *field == '\t' || colon[-1] == ' ') return refuse("400 Bad Request");
        size_t name_len = (size_t)(colon - field);
        const char *value = colon + 1, *value_end = line_end;
        while (value < value_end && (*value == ' ' || *value == '\t')) value++;
        while (value_end > value && (value_end[-1] == ' ' || value_end[-1] == '\t')) value_end--;
        size_t value_len = (size_t)(value_end - value);
        if (name_len == 4 && !strncasecmp(field, "host", 4)) {
            hosts++;
        } else if (name_len == 14 && !strncasecmp(field, "content-length", 14)) {
            if (has_length || value_len == 0 || value_len > 9) return refuse("400 Bad Request");
            has_length = true;
            for (const char *digit = value; digit < value_end; digit++) {
                if (*digit < '0' || *digit > '9') return refuse("400 Bad Request");
                body_len = body_len * 10 + (size_t)(*digit - '0');
            }
        } else if (name_len == 17 && !strncasecmp(field, "transfer-encoding", 17)) {
            return refuse("501 Not Implemented");
        } else if (name_len == 10 && !strncasecmp(field, "connection", 10)) {
            if (value_len == 5 && !strncasecmp(value, "close", 5)) keep_alive = false;
            if (value_len == 10 && !strncasecmp(value, "keep-alive", 10)) keep_alive = true;
        }
    }
    if (hosts > 1 || (modern && hosts == 0)) return refuse("400 Bad Request");
    size_t head_len = (size_t)(end + 4 - at);
    if (body_len > MESSAGE_LIMIT - head_len) return refuse("413 Content Too Large");
    if (len < head_len + body_len) return 0;
    respond(at, (size_t)(method_end - at), path, (size_t)(path_end - path), at + head_len, body_len, keep_alive);
    return keep_alive ? (long)(head_len + body_len) : -1;
}

static void drop(Connection *c) {
    close(c->fd);
    free(c->partial);
    free(c->waiting);
    free(c);
}

static void watch(Connection *c, uint32_t what) {
    struct epoll_event event = {.events = what, .data.ptr = c};
    epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &event);
}

/* Write `out`; what the socket refuses waits, and reading pauses until it is gone. False: the peer has left. */
static bool flush(Connection *c) {
    if (out_len == 0) return true;
    ssize_t sent = send(c->fd, out, out_len, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) return false;
    size_t done = sent < 0 ? 0 : (size_t)sent;
    if (done < out_len) {
        c->waiting_len = out_len - done;
        c->waiting = malloc(c->waiting_len);
        memcpy(c->waiting, out + done, c->waiting_len);
        watch(c, EPOLLOUT);
    }
    out_len = 0;
    return true;
}

/* Answer every complete message of `in[0:have]` and keep the incomplete rest. */
static void serve(Connection *c, size_t have) {
    size_t at = 0;
    while (at < have && !c->closing && !c->waiting) {
        long used = serve_one(in + at, have - at);
        if (used == 0) break;
        if (used < 0) c->closing = true;
        else at += (size_t)used;
        if (out_len > OUT_LIMIT - MESSAGE_LIMIT - 1024 && !flush(c)) {
            drop(c);
            return;
        }
    }
    if (at < have && !c->closing) {
        c->partial_len = have - at;
        c->partial = malloc(c->partial_len);
        memcpy(c->partial, in + at, c->partial_len);
    }
    if (!flush(c) || (c->closing && !c->waiting)) drop(c);
}

static size_t take_partial(Connection *c) {
    size_t have = c->partial_len;
    if (c->partial) {
        memcpy(in, c->partial, have);
        free(c->partial);
        c->partial = NULL;
        c->partial_len = 0;
    }
    return have;
}

static void on_readable(Connection *c) {
    size_t have = take_partial(c);
    ssize_t got = recv(c->fd, in + have, sizeof in - have, 0);
    if (got <= 0) {
        drop(c);
        return;
    }
    serve(c, have + (size_t)got);
}

static void on_writable(Connection *c) {
    ssize_t sent = send(c->fd, c->waiting, c->waiting_len, MSG_NOSIGNAL);
    if (sent < 0 && errno == EAGAIN) return;
    if (sent < 0) {
        drop(c);
        return;
    }
    c->waiting_len -= (size_t)sent;
    memmove(c->waiting, c->waiting + sent, c->waiting_len);
    if (c->waiting_len) return;
    free(c->waiting);
    c->waiting = NULL;
    if (c->closing) {
        drop(c);
        return;
    }
    watch(c, EPOLLIN);
    if (c->partial) serve(c, take_partial(c));
}

static void accept_all(int listener) {
    for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        Connection *c = calloc(1, sizeof *c);
        c->fd = fd;
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
    }
}

int main(int argc, char **argv) {
    if (argc != 2) return fprintf(stderr, "usage: floor PORT\n"), 2;
    signal(SIGPIPE, SIG_IGN);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);

    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1]))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 2048)) return perror("floor"), 1;

    poller = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}, ready[EVENTS];
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int count = epoll_wait(poller, ready, EVENTS, -1);
        refresh_date();
        for (int i = 0; i < count; i++) {
            Connection *c = ready[i].data.ptr;
            if (!c) accept_all(listener);
            else if (c->waiting) on_writable(c);
            else on_readable(c);
        }
    }
}
