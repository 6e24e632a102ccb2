// The client library graphql-ws against a running server; prints what came as one JSON object.
import { createClient } from "graphql-ws";
import WebSocket from "ws";

const url = process.argv[2];
const said = {};

function connect(options) {
  return createClient({ url, webSocketImpl: WebSocket, retryAttempts: 0, ...options });
}

async function all(client, query, variables) {
  const found = [];
  for await (const result of client.iterate({ query, variables })) found.push(result.errors ?? result.data);
  return found;
}

async function fault(promise) {
  try {
    return await promise;
  } catch (error) {
    return error.code ?? error.map?.((each) => each.message) ?? String(error);
  }
}

const client = connect({ connectionParams: { token: "ada" } });
said.query = await all(client, "query($n: String) {hello(name: $n)}", { n: "ws" });
said.context = await all(client, "{whoami}");
said.mutation = await all(client, 'mutation {add_maker(maker: {name: "Amati"}) {name}}');
said.subscription = await all(client, "subscription {count(to: 3)}");
said.plain = await all(client, "subscription {countdown}");
said.invalid = await fault(all(client, "{nope}"));
said.broken = await fault(all(client, "subscription {breaks}"));
said.together = await Promise.all([1, 2, 3].map((to) => all(client, `subscription {count(to: ${to})}`)));
let seen = 0;
for await (const _ of client.iterate({ query: "subscription {forever}" })) if (++seen === 3) break;
said.left = seen;
await client.dispose();

said.forbidden = await fault(all(connect({ connectionParams: { token: "wrong" } }), "{hello}"));
said.closes = {};
for (const [name, messages, protocol] of [
  ["unauthorized", [{ type: "subscribe", id: "1", payload: { query: "{hello}" } }]],
  ["twice", [{ type: "connection_init" }, { type: "connection_init" }]],
  ["unknown", [{ type: "hello" }]],
  ["same", [{ type: "connection_init" }, ...[1, 2].map(() => ({ type: "subscribe", id: "1", payload: { query: "subscription {forever}" } }))]],
  ["protocol", [], "graphql-ws"],
]) {
  const socket = new WebSocket(url, protocol ?? "graphql-transport-ws");
  said.closes[name] = await new Promise((resolve) => {
    socket.on("open", () => messages.forEach((message) => socket.send(JSON.stringify(message))));
    socket.on("close", (code) => resolve(code));
    socket.on("error", (error) => resolve(error.message));
  });
}
console.log(JSON.stringify(said));
