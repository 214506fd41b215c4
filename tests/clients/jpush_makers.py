"""The official JPush SDK pushes what is for the makers' channels.

Arguments: API URL, app key, master secret. Prints the message's id.
"""

import sys

import jpush
import jpush.common


def main(api, app_key, master_secret):
    jpush.common.ZONES["DEFAULT"].update(PUSH=api + "/v3/", REPORT=api + "/v3/", DEVICE=api + "/v3/devices/")
    push = jpush.JPush(app_key, master_secret).create_push()
    push.platform = jpush.all_
    push.audience = jpush.all_
    push.notification = jpush.notification(
        alert="for all",
        android=jpush.android(
            alert="for Android",
            title="title",
            builder_id=1,
            extras={"order": 7},
            priority=1,
            style=1,
            big_text="much more",
            intent={"url": "intent:#Intent;component=com.example/.Order;end"},
            channel_id="orders",
        ),
        hmos=jpush.hmos(
            alert="for HarmonyOS",
            title="title",
            category="WORK",
            intent={"url": "action.system.home"},
            extras={"order": 7},
            style=2,
            inbox={"1": "one", "2": "two"},
            badge_add_num=1,
        ),
    )
    push.options = {
        "time_to_live": 600,
        "third_party_channel": {
            "huawei": {"distribution": "first_ospush", "importance": "HIGH", "category": "EXPRESS", "skip_quota": True},
            "xiaomi": {"distribution": "first_ospush", "channel_id": "high_system"},
            "vivo": {"distribution": "first_ospush", "classification": 1},
        },
    }
    print(push.send().payload["msg_id"])


main(*sys.argv[1:])
