// Sends with @parse/node-apn: a list of tokens to each send, as its documentation shows, and two lists under way for each
// connection, so that one fills the streams that the other frees. It tells when a list is done, not when each of its
// notifications is. DIR PORT COUNT CONNECTIONS TOPIC TEXT KEY_ID TEAM_ID.
const fs = require('node:fs');
const apn = require('@parse/node-apn');

const PAGE = 500;

async function main() {
  const [dir, port, count, connections, topic, text, keyId, teamId] = process.argv.slice(2);
  const started = process.hrtime.bigint();
  const cpu = process.cpuUsage();
  const options = {
    address: 'localhost',
    port: Number(port),
    ca: fs.readFileSync(`${dir}/ca.pem`),
    token: { key: `${dir}/key.p8`, keyId, teamId },
  };
  const many = Number(connections);
  const provider =
    many > 1 ? new apn.MultiProvider({ ...options, clientCount: many }) : new apn.Provider(options);
  let next = 0;
  async function worker() {
    while (next < Number(count)) {
      const tokens = [];
      for (; tokens.length < PAGE && next < Number(count); next++) {
        tokens.push(next.toString(16).padStart(64, '0'));
      }
      const notification = new apn.Notification();
      notification.topic = topic;
      notification.pushType = 'alert';
      notification.priority = 10;
      notification.alert = text;
      const { failed } = await provider.send(notification, tokens);
      if (failed.length > 0) {
        throw failed[0].error || new Error(JSON.stringify(failed[0]));
      }
    }
  }
  await Promise.all(Array.from({ length: 2 * many }, worker));
  const used = process.cpuUsage(cpu);
  console.log(
    JSON.stringify({
      seconds: Number(process.hrtime.bigint() - started) / 1e9,
      cpu_seconds: (used.user + used.system) / 1e6,
      p50_ms: null,
      p99_ms: null,
    }),
  );
  process.exit(0);
}

main().catch(error => {
  console.error(error);
  process.exit(1);
});
