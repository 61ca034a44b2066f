// Asks flags through the public OFREP provider of OpenFeature's web SDK, which reads all at once and polls.
// The question comes as JSON on the first line of stdin. Each round prints one line of JSON; the next one begins when the
// provider reports a change, or with a new context from a further line of stdin.
import { createInterface } from "node:readline";
import { OFREPWebProvider } from "@openfeature/ofrep-web-provider";
import { OpenFeature, ProviderEvents } from "@openfeature/web-sdk";

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const { url, headers, calls, context } = JSON.parse((await lines.next()).value);
const statuses = [];
const counting = async (request) => {
  const response = await fetch(request);
  statuses.push(response.status);
  return response;
};
const provider = new OFREPWebProvider({
  baseUrl: url,
  headers: Object.entries(headers),
  pollInterval: 100,
  cacheMode: "disabled",
  fetchImplementation: counting,
});
const client = OpenFeature.getClient();
const ask = {
  boolean: (...call) => client.getBooleanDetails(...call),
  string: (...call) => client.getStringDetails(...call),
  integer: (...call) => client.getNumberDetails(...call),
  float: (...call) => client.getNumberDetails(...call),
  object: (...call) => client.getObjectDetails(...call),
};
const report = (changed) => {
  const answers = calls.map(({ kind, flag, fallback }) => ask[kind](flag, fallback));
  console.log(JSON.stringify({ answers, changed, statuses: statuses.splice(0) }));
};

await OpenFeature.setContext(context);
client.addHandler(ProviderEvents.ConfigurationChanged, (event) => report(event.flagsChanged));
await OpenFeature.setProviderAndWait(provider);
report([]);
for await (const line of lines) {
  await OpenFeature.setContext(JSON.parse(line));
  report([]);
}
await OpenFeature.close();
process.exit(0);
