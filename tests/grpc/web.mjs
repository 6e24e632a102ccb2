// @connectrpc over gRPC-Web (binary), grpc-web over base64, and reflection over HTTP/2, none of which knows a .proto:
// node web.mjs TARGET URL
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { create, createFileRegistry, fromBinary, fromJson, toBinary, toJson } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema, StructSchema } from "@bufbuild/protobuf/wkt";
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";
import { createRequire } from "module";
const require = createRequire(import.meta.url);
const [target, url] = process.argv.slice(2);
const plain = (value) => JSON.parse(JSON.stringify(value, (name, each) => (typeof each === "bigint" ? Number(each) : name.startsWith("$") ? undefined : each)));
const said = { services: {} };
let registry;
for (const version of ["v1", "v1alpha"]) {
  const proto = require.resolve(`@grpc/reflection/build/proto/grpc/reflection/${version}/reflection.proto`);
  const reflection = grpc.loadPackageDefinition(loader.loadSync(proto, { keepCase: true })).grpc.reflection[version];
  const client = new reflection.ServerReflection(target, grpc.credentials.createInsecure());
  const ask = (question) =>
    new Promise((done, fail) => {
      const stream = client.ServerReflectionInfo();
      stream.on("data", done);
      stream.on("error", fail);
      stream.write(question);
      stream.end();
    });
  said.services[version] = (await ask({ list_services: "" })).list_services_response.service.map((each) => each.name);
  const files = new Map();
  for (const symbol of ["shop.v1.Shop", "UserService"]) {
    const answer = await ask({ file_containing_symbol: symbol });
    for (const content of answer.file_descriptor_response.file_descriptor_proto) {
      const file = fromBinary(FileDescriptorProtoSchema, content);
      files.set(file.name, file);
    }
  }
  const ordered = [...files.values()].sort((a, b) => a.dependency.length - b.dependency.length);
  registry = createFileRegistry({ $typeName: "google.protobuf.FileDescriptorSet", file: ordered });
}
const native = createGrpcTransport({ baseUrl: `http://${target}` });
const web = createGrpcWebTransport({ baseUrl: url, httpVersion: "1.1" });
const failing = async (work) => {
  try { return plain(await work()); } catch (error) { return [error.code, error.rawMessage, error.metadata?.get("x-request-id") ? "id" : "-"]; }
};
for (const [name, transport] of [["native", native], ["web", web]]) {
  const shop = createClient(registry.getService("shop.v1.Shop"), transport);
  const users = createClient(registry.getService("UserService"), transport);
  const guarded = createClient(registry.getService("Guarded"), transport);
  const many = async (stream) => {
    const got = [];
    try { for await (const each of stream) got.push(Number(each.id)); } catch (error) { got.push(error.code, error.rawMessage); }
    return got;
  };
  let early, late;
  said[name] = {
    get: await failing(() => shop.get({ id: 7n }, { headers: { "x-name": "Ada" }, onHeader: (h) => (early = h.get("x-early")), onTrailer: (t) => (late = t.get("x-served-by")) })),
    metadata: [early, late],
    untyped: toJson(StructSchema, fromBinary(StructSchema, toBinary(StructSchema, await users.getUser(fromJson(StructSchema, { id: 7 }))))),
    add: await failing(() => shop.add({ left: 1n })),
    missing: await failing(() => shop.get({ id: 404n })),
    broken: await failing(() => shop.get({ id: 500n })),
    late: await failing(() => shop.sleep({ id: 1n }, { timeoutMs: 300 })),
    guarded: await failing(() => guarded.whoAmI({})),
    bare: await failing(() => users.later({})),
    count: await many(shop.count({ id: 2n })),
    cut: await many(shop.count({ id: 3n })),
    countdown: await many(shop.countdown({ id: 2n })),
  };
}
global.XMLHttpRequest = require("xhr2");
const { GrpcWebClientBase, MethodDescriptor, MethodType } = require("grpc-web");
const userId = registry.getMessage("shop.v1.UserId"), user = registry.getMessage("shop.v1.User");
const encode = (id) => toBinary(userId, create(userId, { id: BigInt(id) }));
for (const format of ["text", "binary"]) {
  const client = new GrpcWebClientBase({ format });
  const describe = (path, kind) => new MethodDescriptor(path, kind, Object, Object, encode, (content) => plain(fromBinary(user, content)));
  const call = (path, id) => {
    const described = describe(path, MethodType.UNARY);
    return new Promise((done) => client.rpcCall(url + path, id, { "x-name": "Bob" }, described, (error, answer) => done(error ? [error.code, error.message] : answer)));
  };
  said[`grpc-web ${format}`] = { get: await call("/shop.v1.Shop/Get", 7), missing: await call("/shop.v1.Shop/Get", 404) };
  if (format === "text") said["grpc-web text"].count = await new Promise((done) => {
    const got = [];
    const stream = client.serverStreaming(`${url}/shop.v1.Shop/Count`, 3, {}, describe("/shop.v1.Shop/Count", MethodType.SERVER_STREAMING));
    stream.on("data", (each) => got.push(each.id));
    stream.on("error", (error) => done([...got, error.code]));
    stream.on("end", () => done(got));
  });
}
console.log(JSON.stringify(said));
process.exit(0);
