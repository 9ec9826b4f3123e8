// A receiver of webhooks: checks each message with the library of Standard Webhooks, which others wrote, and its Ed25519
// signature with Node's own crypto. Prints its port, then a line for each message. Every `refuse`-th it refuses, so that
// retries are part of the day. Ends when its standard input does.
import { createServer } from "node:http";
import { createPublicKey, verify } from "node:crypto";
import { Webhook } from "standardwebhooks";

const { secret, publicKey, refuse, port } = JSON.parse(process.argv[2]);
const webhook = new Webhook(secret);
// A raw Ed25519 key behind the header that says what it is.
const der = Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), Buffer.from(publicKey.slice("whpk_".length), "base64")]);
const key = createPublicKey({ key: der, format: "der", type: "spki" });

const asymmetric = (headers, text) => {
  const signature = headers["webhook-signature"].split(" ").find((one) => one.startsWith("v1a,"));
  const content = `${headers["webhook-id"]}.${headers["webhook-timestamp"]}.${text}`;
  return signature !== undefined && verify(null, Buffer.from(content), key, Buffer.from(signature.slice(4), "base64"));
};

let count = 0;
const server = createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const text = Buffer.concat(chunks).toString();
  let verified = null;
  try {
    verified = webhook.verify(text, request.headers);
  } catch (error) {
    console.log(JSON.stringify({ problem: String(error), text }));
  }
  const signedTwice = asymmetric(request.headers, text);
  count += 1;
  const refused = verified === null || (refuse > 0 && count % refuse === 0);
  response.writeHead(refused ? 500 : 204).end();
  const id = request.headers["webhook-id"];
  if (verified !== null) {
    const { generationId, sequence, type } = verified.data;
    console.log(JSON.stringify({ id, refused, signedTwice, generation: generationId, sequence, type }));
  }
});
server.listen(port ?? 0, "127.0.0.1", () => console.log(JSON.stringify({ port: server.address().port })));
process.stdin.on("end", () => process.exit(0)).resume();
