/* The load generator: keep-alive connections on one core that send an exact number of requests and read every answer.
 *
 * Cheaper than the servers it loads, so that they are busy; exact in what it counts, so that CPU time per request can
 * be divided by it; and suspicious: an answer counts only with status 200, a Content-Length, and a body that holds what
 * its request asked for.
 *
 *     load PORT CONNECTIONS PIPELINE REQUESTS_FILE [WEBSOCKET_PATH]
 *
 * REQUESTS_FILE is a sequence of records, taken in turn by all connections: request length and needle length (u32,
 * native order), the request's bytes, the needle's bytes. After connecting it prints {"ready": CONNECTIONS}. Each line
 * of standard input is a number of requests to run; each run prints one JSON line. The end of input ends the program.
 * A server may close a connection after an answer; what it left unanswered is sent again on a new one.
 *
 * With WEBSOCKET_PATH every connection is upgraded first; the records are then whole masked frames, and an answer is
 * one unfragmented data frame.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { IN_LIMIT = 256 * 1024, MAX_PIPELINE = 64, MAX_CONNECTIONS = 1024, STALL_MS = 10000 };

typedef struct {
    const char *bytes, *needle;
    uint32_t len, needle_len;
} Request;

typedef struct {
    int fd;
    const Request *asked[MAX_PIPELINE]; /* sent, not answered yet; asked[answered] is next */
    unsigned sent, answered;
    char *out;
    size_t out_len, out_done;
    char *in;
    size_t have;
} Connection;

typedef struct {
    size_t head_len, body_len;
    bool close;
} Head;

static struct sockaddr_in server;
static const char *websocket_path; /* NULL: plain HTTP */
static Request *requests;
static size_t request_count, next_request;
static unsigned pipeline;
static long to_send, to_receive, reconnects;
static unsigned in_vain; /* connections closed since the last answer on any of them */
static unsigned long long received_bytes;
static int poller;

static void fail(const char *format, ...) {
    char text[512];
    va_list values;
    va_start(values, format);
    vsnprintf(text, sizeof text, format, values);
    va_end(values);
    for (char *c = text; *c; c++) if (*c < ' ' || *c > '~' || *c == '"' || *c == '\\') *c = '.';
    printf("{\"error\": \"%s\"}\n", text);
    exit(1);
}

static void read_requests(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) fail("cannot open %s", path);
    uint32_t sizes[2];
    while (fread(sizes, sizeof sizes, 1, file) == 1) {
        char *bytes = malloc((size_t)sizes[0] + sizes[1]);
        if (fread(bytes, (size_t)sizes[0] + sizes[1], 1, file) != 1) fail("%s is cut short", path);
        requests = realloc(requests, (request_count + 1) * sizeof *requests);
        requests[request_count++] = (Request){bytes, bytes + sizes[0], sizes[0], sizes[1]};
    }
    fclose(file);
    if (!request_count) fail("%s holds no request", path);
}

/* Upgrade a fresh connection; blocking, since nothing is timed yet. */
static void upgrade(int fd) {
    char text[2048];
    int len = snprintf(text, sizeof text,
                       "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                       "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                       websocket_path);
    if (send(fd, text, (size_t)len, MSG_NOSIGNAL) != len) fail("upgrade: %s", strerror(errno));
    size_t have = 0;
    while (have < 4 || memcmp(text + have - 4, "\r\n\r\n", 4)) {
        if (have == sizeof text || recv(fd, text + have, 1, 0) != 1) fail("upgrade: no complete answer");
        have++;
    }
    if (memcmp(text, "HTTP/1.1 101", 12)) fail("upgrade: %.*s", have < 60 ? (int)have : 60, text);
}

static void open_socket(Connection *c) {
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(c->fd, (struct sockaddr *)&server, sizeof server)) fail("connect: %s", strerror(errno));
    if (websocket_path) upgrade(c->fd);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event);
    c->sent = c->answered = 0;
    c->have = c->out_len = c->out_done = 0;
}

static void watch(Connection *c, uint32_t what) {
    struct epoll_event event = {.events = what, .data.ptr = c};
    epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &event);
}

/* Write what is waiting; a full socket is watched for room. A closed one is noticed by the next read. */
static void push(Connection *c) {
    ssize_t wrote = send(c->fd, c->out + c->out_done, c->out_len - c->out_done, MSG_NOSIGNAL | MSG_DONTWAIT);
    bool was_partial = c->out_done > 0;
    if (wrote < 0 && errno != EAGAIN) wrote = (ssize_t)(c->out_len - c->out_done);
    if (wrote > 0) c->out_done += (size_t)wrote;
    if (c->out_done < c->out_len) watch(c, EPOLLIN | EPOLLOUT);
    else if (was_partial) watch(c, EPOLLIN);
}

/* Send the next batch on an idle connection. */
static void ask(Connection *c) {
    c->out_len = c->out_done = 0;
    c->sent = c->answered = 0;
    while (c->sent < pipeline && to_send > 0) {
        const Request *request = &requests[next_request];
        if (++next_request == request_count) next_request = 0;
        memcpy(c->out + c->out_len, request->bytes, request->len);
        c->out_len += request->len;
        c->asked[c->sent++] = request;
        to_send--;
    }
    if (c->out_len) push(c);
}

static void reopen(Connection *c) {
    to_send += c->sent - c->answered;
    close(c->fd);
    reconnects++;
    if (++in_vain > 1000) fail("the server closes connections without answering");
    open_socket(c);
    ask(c);
}

static const char *field_value(const char *line, const char *end, const char *name) {
    size_t len = strlen(name);
    if ((size_t)(end - line) <= len || line[len] != ':' || strncasecmp(line, name, len)) return NULL;
    for (line += len + 1; line < end && *line == ' ';) line++;
    return line;
}

/* Read an answer's head. False: it is not complete yet. */
static bool read_head(const char *at, size_t len, Head *head) {
    /* The head seldom changes within a second: compare instead of parsing, and leave the cores to the servers. */
    static char last[4096];
    static Head parsed;
    if (parsed.head_len && len >= parsed.head_len && !memcmp(at, last, parsed.head_len)) {
        *head = parsed;
        return true;
    }
    const char *end = memmem(at, len, "\r\n\r\n", 4);
    if (!end) return false;
    if (len < 12 || memcmp(at, "HTTP/1.1 200", 12)) fail("answer: %.*s", len < 60 ? (int)len : 60, at);
    bool has_length = false;
    *head = (Head){.head_len = (size_t)(end + 4 - at)};
    for (const char *line = at, *line_end; line < end; line = line_end + 2) {
        line_end = memmem(line, (size_t)(end - line) + 2, "\r\n", 2);
        const char *value;
        if ((value = field_value(line, line_end, "content-length"))) {
            head->body_len = strtoul(value, NULL, 10);
            has_length = true;
        } else if ((value = field_value(line, line_end, "connection"))) {
            head->close = !strncasecmp(value, "close", 5);
        }
    }
    if (!has_length) fail("answer without Content-Length: %.*s", len < 200 ? (int)len : 200, at);
    if (head->head_len <= sizeof last) {
        memcpy(last, at, head->head_len);
        parsed = *head;
    }
    return true;
}

/* Read a frame's head; the same contract as read_head. */
static bool read_frame_head(const char *at, size_t len, Head *head) {
    const unsigned char *bytes = (const unsigned char *)at;
    if (len < 2) return false;
    if ((bytes[0] & 0xF0) != 0x80 || (bytes[0] & 0x0F) > 2 || bytes[1] > 127)
        fail("not a whole unmasked data frame: %02x %02x", bytes[0], bytes[1]);
    size_t extended = bytes[1] == 127 ? 8 : bytes[1] == 126 ? 2 : 0;
    *head = (Head){.head_len = 2 + extended, .body_len = extended ? 0 : bytes[1]};
    if (len < head->head_len) return false;
    for (size_t i = 0; i < extended; i++) head->body_len = head->body_len << 8 | bytes[2 + i];
    return true;
}

/* Count and check the complete answers. False: the server said that it closes. */
static bool take_answers(Connection *c) {
    size_t at = 0;
    bool open = true;
    while (at < c->have && open) {
        Head head;
        if (!(websocket_path ? read_frame_head : read_head)(c->in + at, c->have - at, &head)) break;
        if (c->have - at < head.head_len + head.body_len) break;
        if (c->answered == c->sent) fail("an answer that nobody asked for");
        const Request *request = c->asked[c->answered++];
        in_vain = 0;
        const char *body = c->in + at + head.head_len;
        if (!memmem(body, head.body_len, request->needle, request->needle_len))
            fail("a body without %.*s: %.*s", (int)request->needle_len, request->needle,
                 head.body_len < 100 ? (int)head.body_len : 100, body);
        at += head.head_len + head.body_len;
        to_receive--;
        open = !head.close;
    }
    received_bytes += at;
    memmove(c->in, c->in + at, c->have -= at);
    return open;
}

static void on_event(Connection *c, uint32_t what) {
    if (what & EPOLLOUT) push(c);
    if (!(what & ~(uint32_t)EPOLLOUT)) return;
    ssize_t got = recv(c->fd, c->in + c->have, IN_LIMIT - c->have, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
        reopen(c);
        return;
    }
    c->have += (size_t)got;
    if (!take_answers(c)) reopen(c);
    else if (c->answered == c->sent) ask(c);
    else if (c->have == IN_LIMIT) fail("an answer beyond %d bytes", IN_LIMIT);
}

static void run(Connection *connections, unsigned count, long wanted) {
    struct epoll_event ready[256];
    struct timespec from, to;
    to_send = to_receive = wanted;
    reconnects = 0;
    received_bytes = 0;
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (unsigned i = 0; i < count; i++) ask(&connections[i]);
    while (to_receive > 0) {
        int events = epoll_wait(poller, ready, 256, STALL_MS);
        if (events == 0) fail("no answer for %d s, %ld of %ld missing", STALL_MS / 1000, to_receive, wanted);
        for (int i = 0; i < events; i++) on_event(ready[i].data.ptr, ready[i].events);
    }
    clock_gettime(CLOCK_MONOTONIC, &to);
    double seconds = (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
    printf("{\"requests\": %ld, \"seconds\": %.6f, \"reconnects\": %ld, \"bytes\": %llu}\n", wanted, seconds, reconnects,
           received_bytes);
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc != 5 && argc != 6) {
        fprintf(stderr, "usage: load PORT CONNECTIONS PIPELINE REQUESTS_FILE [WEBSOCKET_PATH]\n");
        return 2;
    }
    websocket_path = argc == 6 ? argv[5] : NULL;
    server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1]))};
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    unsigned count = (unsigned)atoi(argv[2]);
    pipeline = (unsigned)atoi(argv[3]);
    if (!count || count > MAX_CONNECTIONS || !pipeline || pipeline > MAX_PIPELINE) fail("counts out of range");
    read_requests(argv[4]);
    size_t longest = 0;
    for (size_t i = 0; i < request_count; i++) if (requests[i].len > longest) longest = requests[i].len;

    poller = epoll_create1(EPOLL_CLOEXEC);
    static Connection connections[MAX_CONNECTIONS];
    for (unsigned i = 0; i < count; i++) {
        connections[i].out = malloc(longest * pipeline);
        connections[i].in = malloc(IN_LIMIT);
        open_socket(&connections[i]);
    }
    printf("{\"ready\": %u}\n", count);
    char line[64];
    while (fgets(line, sizeof line, stdin)) {
        long wanted = atol(line);
        if (wanted <= 0) fail("not a number of requests: %.20s", line);
        run(connections, count, wanted);
    }
    return 0;
}
