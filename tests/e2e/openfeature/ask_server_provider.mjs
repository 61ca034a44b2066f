// Asks flags through the public OFREP provider of OpenFeature's server SDK; the question comes as JSON on stdin.
import { readFileSync } from "node:fs";
import { OFREPProvider } from "@openfeature/ofrep-provider";
import { OpenFeature } from "@openfeature/server-sdk";

const { url, headers, calls } = JSON.parse(readFileSync(0, "utf8"));
await OpenFeature.setProviderAndWait(new OFREPProvider({ baseUrl: url, headers: Object.entries(headers) }));
const client = OpenFeature.getClient();
const ask = {
  boolean: (...call) => client.getBooleanDetails(...call),
  string: (...call) => client.getStringDetails(...call),
  integer: (...call) => client.getNumberDetails(...call),
  float: (...call) => client.getNumberDetails(...call),
  object: (...call) => client.getObjectDetails(...call),
};
const answers = [];
for (const { kind, flag, fallback, context } of calls) {
  answers.push(await ask[kind](flag, fallback, context));
}
await OpenFeature.close();
console.log(JSON.stringify(answers));
