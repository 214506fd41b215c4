"""Sends with aioapns: one client, as many sends under way as its connections have streams. DIR PORT COUNT CONNECTIONS
TOPIC TEXT KEY_ID TEAM_ID."""

import asyncio
import json
import ssl
import sys
import time
from uuid import UUID

from aioapns import APNs, NotificationRequest, PushType
from aioapns.connection import APNsDevelopmentClientProtocol

STREAMS = 1000


async def main() -> None:
    directory, port, count, connections, topic, text, key_id, team_id = sys.argv[1:]
    count, connections = int(count), int(connections)
    # The library has no option for the host; its class attributes are the way in.
    APNsDevelopmentClientProtocol.APNS_SERVER = "localhost"
    APNsDevelopmentClientProtocol.APNS_PORT = int(port)
    with open(f"{directory}/key.p8", encoding="ascii") as file:
        key = file.read()
    started, cpu = time.perf_counter(), time.process_time()
    client = APNs(
        key=key,
        key_id=key_id,
        team_id=team_id,
        topic=topic,
        max_connections=connections,
        use_sandbox=True,
        ssl_context=ssl.create_default_context(cafile=f"{directory}/ca.pem"),
    )
    taken = []
    numbers = iter(range(count))

    async def worker() -> None:
        for number in numbers:
            begun = time.perf_counter()
            request = NotificationRequest(
                device_token=f"{number:064x}",
                message={"aps": {"alert": text}},
                notification_id=str(UUID(int=number)),
                priority=10,
                push_type=PushType.ALERT,
            )
            result = await client.send_notification(request)
            if not result.is_successful:
                raise RuntimeError(f"{result.status} {result.description}")
            taken.append(time.perf_counter() - begun)

    await asyncio.gather(*(worker() for _ in range(min(count, STREAMS * connections))))
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    taken.sort()
    print(
        json.dumps(
            {
                "seconds": seconds,
                "cpu_seconds": cpu,
                "p50_ms": taken[int((count - 1) * 0.5)] * 1e3,
                "p99_ms": taken[int((count - 1) * 0.99)] * 1e3,
            }
        )
    )


asyncio.run(main())
