// Sends pushes, or manages channels and broadcasts to them, with @parse/node-apn. Reads one JSON document from stdin:
//   {"host","port","ca","topic","token":{"key","keyId","teamId"} or "pfx" (base64) with "passphrase",
//    "pushes":[{"device","topic","text"}]
//    or "calls":[{"action":"create", "read", "readAll", "delete" or "broadcast", "bundleId", "channel", "set"}]}
// A call's "channel" is an id, or the place of the call that created it; "set" is what is set on the notification.
// Prints what the library reports: [{"status","reason","timestamp"}] of pushes, and of calls its own objects.
const apn = require('@parse/node-apn');

async function report(provider, push) {
  const notification = new apn.Notification();
  notification.topic = push.topic;
  notification.pushType = 'alert';
  notification.alert = push.text;
  const { sent, failed } = await provider.send(notification, push.device);
  if (sent.length === 1) {
    return { status: '200', reason: null, timestamp: null };
  }
  const failure = failed[0];
  if (!failure.response) {
    throw failure.error || new Error(JSON.stringify(failure));
  }
  return {
    status: String(failure.status),
    reason: failure.response.reason,
    timestamp: failure.response.timestamp ?? null,
  };
}

async function call(provider, { action, bundleId, channel, set }, reports) {
  const notification = new apn.Notification();
  Object.assign(notification, set);
  notification.channelId = Number.isInteger(channel) ? reports[channel]['apns-channel-id'] : channel;
  const { sent, failed } = await (action === 'broadcast'
    ? provider.broadcast(notification, bundleId)
    : provider.manageChannels(notification, bundleId, action));
  const report = sent[0] ?? failed[0];
  if (report.error) {
    throw report.error;
  }
  return report;
}

async function main() {
  let text = '';
  for await (const chunk of process.stdin) {
    text += chunk;
  }
  const input = JSON.parse(text);
  const options = {
    address: input.host,
    port: input.port,
    manageChannelsAddress: input.host,
    manageChannelsPort: input.port,
    ca: input.ca,
  };
  if (input.token) {
    options.token = input.token;
  } else {
    options.pfx = Buffer.from(input.pfx, 'base64');
    options.passphrase = input.passphrase;
  }
  const provider = new apn.Provider(options);
  const reports = [];
  for (const push of input.pushes ?? []) {
    reports.push(await report(provider, push));
  }
  for (const wanted of input.calls ?? []) {
    reports.push(await call(provider, wanted, reports));
  }
  console.log(JSON.stringify(reports));
  provider.shutdown();
}

main().catch(error => {
  console.error(error);
  process.exit(1);
});
