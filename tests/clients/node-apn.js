// Sends pushes with @parse/node-apn. Reads one JSON document from stdin:
//   {"host","port","ca","topic","token":{"key","keyId","teamId"} or "pfx" (base64) with "passphrase",
//    "pushes":[{"device","topic","text"}]}
// and prints what the library reports of each: [{"status","reason","timestamp"}].
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

async function main() {
  let text = '';
  for await (const chunk of process.stdin) {
    text += chunk;
  }
  const input = JSON.parse(text);
  const options = { address: input.host, port: input.port, ca: input.ca };
  if (input.token) {
    options.token = input.token;
  } else {
    options.pfx = Buffer.from(input.pfx, 'base64');
    options.passphrase = input.passphrase;
  }
  const provider = new apn.Provider(options);
  const reports = [];
  for (const push of input.pushes) {
    reports.push(await report(provider, push));
  }
  console.log(JSON.stringify(reports));
  provider.shutdown();
}

main().catch(error => {
  console.error(error);
  process.exit(1);
});
