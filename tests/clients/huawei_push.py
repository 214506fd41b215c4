"""Sends messages with one of Huawei's own Python clients. Reads the address, the app and the messages as JSON, and prints
what the client reports of each: its code and reason, or the error that it raised."""

import json
import sys
import sysconfig
import types
import warnings

given = json.load(sys.stdin)

if given["library"] == "hpa":
    import hpa as admin
    from hpa import messaging

    admin.initialize_app(given["app_id"], given["app_secret"], given["token_endpoint"], given["endpoint"])
else:
    # The package looks for itself in the folder of its own repository.
    src = types.ModuleType("src")
    src.__path__ = [sysconfig.get_paths()["purelib"]]
    sys.modules["src"] = src
    from src import push_admin as admin
    from src.push_admin import messaging

    admin.initialize_app(
        given["app_id"],
        given["app_secret"],
        token_server=given["token_endpoint"],
        push_open_url=given["endpoint"],
    )

# Neither client can be given an authority without a file.
warnings.simplefilter("ignore")


def message(push):
    if push.get("data") is not None:
        android = messaging.AndroidConfig(ttl=push.get("ttl"), urgency=messaging.AndroidConfig.NORMAL_PRIORITY)
        return messaging.Message(data=push["data"], android=android, token=push["tokens"])
    badge = messaging.AndroidBadgeNotification(add_num=1, clazz="com.example.Main")
    click = messaging.AndroidClickAction(action_type=1, intent="intent://com.example/deeplink?#Intent;scheme=a;end")
    notification = messaging.AndroidNotification(
        title=push["title"],
        body="Two to one",
        icon="/res/raw/icon",
        color="#AACCDD",
        sound="/res/raw/goal",
        default_sound=True,
        tag="match",
        click_action=click,
        channel_id="scores",
        image="https://example.com/goal.png",
        style=0,
        notify_id=7,
        group="league",
        badge=badge,
        importance="NORMAL",
        foreground_show=False,
    )
    android = messaging.AndroidConfig(
        collapse_key=-1,
        urgency=messaging.AndroidConfig.NORMAL_PRIORITY,
        ttl=push.get("ttl"),
        bi_tag="match-7",
        notification=notification,
    )
    return messaging.Message(android=android, token=push["tokens"])


reports = []
for push in given["messages"]:
    try:
        response = messaging.send_message(message(push), validate_only=push.get("validate_only", False))
        reports.append({"code": response.code, "reason": response.reason})
    except messaging.ApiCallError as error:
        reports.append({"error": str(error)})
print(json.dumps(reports))
