// The official JPush SDK pushes what is for the makers' channels. Its hosts stand in its source only, and are changed as it is
// loaded. Arguments: API URL, app key, master secret. Prints the message's id last.
const fs = require('fs');
const Module = require('module');

const [api, appKey, masterSecret] = process.argv.slice(2);
const load = Module._extensions['.js'];
Module._extensions['.js'] = (module, filename) => {
  if (!filename.includes('jpush-async')) {
    return load(module, filename);
  }
  const source = fs.readFileSync(filename, 'utf8');
  return module._compile(source.replace(/https:\/\/\w+\.jpush\.cn/g, api), filename);
};

const { JPush } = require('jpush-async');
const makers = {
  huawei: { distribution: 'first_ospush', importance: 'HIGH', category: 'EXPRESS', skip_quota: true },
  xiaomi: { distribution: 'first_ospush', channel_id: 'high_system' },
  vivo: { distribution: 'first_ospush', classification: 1 },
};
JPush.buildClient(appKey, masterSecret)
  .push()
  .setPlatform(JPush.ALL)
  .setAudience(JPush.ALL)
  .setNotification('for all', JPush.android('for Android', 'title', 1, { order: 7 }, 1, null, 1, 'much more', null, 'orders'))
  .setOptions(null, 600, null, null, null, null, makers)
  .send((error, answer) => {
    if (error) {
      console.error(error);
      process.exit(1);
    }
    console.log(answer.msg_id);
  });
