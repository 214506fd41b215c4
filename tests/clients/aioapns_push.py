"""Sends pushes with aioapns. Reads and prints the same documents as node-apn.js, with a token key only."""

import asyncio
import json
import ssl
import sys

from aioapns import APNs, NotificationRequest, PushType
from aioapns.connection import APNsDevelopmentClientProtocol


async def main() -> None:
    given = json.load(sys.stdin)
    # The library has no option for the host; its class attributes are the way in.
    APNsDevelopmentClientProtocol.APNS_SERVER = given["host"]
    APNsDevelopmentClientProtocol.APNS_PORT = given["port"]
    token = given["token"]
    client = APNs(
        key=token["key"],
        key_id=token["keyId"],
        team_id=token["teamId"],
        topic=given["topic"],
        use_sandbox=True,
        max_connection_attempts=1,
        ssl_context=ssl.create_default_context(cadata=given["ca"]),
    )
    reports = []
    for push in given["pushes"]:
        request = NotificationRequest(
            device_token=push["device"],
            message={"aps": {"alert": push["text"]}},
            push_type=PushType.ALERT,
            apns_topic=push["topic"],
        )
        result = await asyncio.wait_for(client.send_notification(request), 10)
        reports.append(
            {
                "status": result.status,
                "reason": result.description,
                "timestamp": result.timestamp,
            }
        )
    print(json.dumps(reports))


asyncio.run(main())
