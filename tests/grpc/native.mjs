// @grpc/grpc-js with the exported .proto files: node native.mjs TARGET FOLDER
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";
const [target, folder] = process.argv.slice(2);
const definition = loader.loadSync(["services.proto", "shop/v1.proto"], { keepCase: true, longs: Number, enums: String, includeDirs: [folder] });
const { shop } = grpc.loadPackageDefinition(definition);
const client = new shop.v1.Shop(target, grpc.credentials.createInsecure());
const unary = (method, message, options = {}) =>
  new Promise((done) => client[method](message, new grpc.Metadata(), options, (error, answer) => done(error ? [error.code, error.details] : answer)));
const gathered = (call) =>
  new Promise((done) => {
    const got = [];
    call.on("data", (each) => got.push(each.id));
    call.on("error", (error) => done([...got, error.code]));
    call.on("end", () => done(got));
  });
const said = {
  get: await unary("Get", { id: 7 }),
  plain: await unary("Plain", { id: 7 }),
  missing: await unary("Get", { id: 404 }),
  broken: await unary("Get", { id: 500 }),
  late: (await unary("Sleep", { id: 1 }, { deadline: Date.now() + 300 }))[0],
  count: await gathered(client.Count({ id: 2 })),
  cut: await gathered(client.Count({ id: 3 })),
};
said.sum = await new Promise((done) => {
  const call = client.Sum((error, answer) => done(error ?? answer));
  for (const id of [1, 2, 3]) call.write({ id });
  call.end();
});
const echo = client.Echo();
const echoed = gathered(echo);
for (const id of [4, 5]) echo.write({ id });
echo.end();
said.echo = await echoed;
console.log(JSON.stringify(said));
process.exit(0);
