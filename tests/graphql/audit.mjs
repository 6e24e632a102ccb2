// The audits of the "GraphQL over HTTP" specification, against a running server; prints one line for each.
import { auditServer } from "graphql-http";

const results = await auditServer({ url: process.argv[2] });
for (const result of results) {
  console.log(`${result.status} ${result.id} ${result.name}${result.status === "ok" ? "" : `: ${result.reason}`}`);
}
