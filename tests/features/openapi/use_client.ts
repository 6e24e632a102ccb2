// Calls the demo application through a client that was generated from its document; compiled with everything strict.
import createClient from "openapi-fetch";
import type { paths } from "./demo.js";

async function main(url: string) {
  const client = createClient<paths>({ baseUrl: url });
  const made = await client.POST("/api/notes", { body: { title: "Bow", text: "rosin", tags: ["care"] } });
  if (made.data === undefined) throw new Error(`not made: ${made.error?.detail}`);
  const id: number = made.data.id ?? 0;
  const read = await client.GET("/api/notes/{id}", { params: { path: { id } } });
  const found = await client.GET("/api/notes", { params: { query: { q: "rosin", limit: 5 } } });
  const titles: string[] = found.data?.map((note) => note.title) ?? [];
  const refused = await client.DELETE("/api/notes/{id}", { params: { path: { id } } });
  const faulty = await client.GET("/api/notes", { params: { query: { limit: 0 } } });
  console.log(JSON.stringify([read.data?.tags, titles, refused.response.status, faulty.error?.title]));
}

main(process.argv[2]!);
