"""The official JPush SDK pushes; a paho client on the link and the caller's simulated iPhone receive.

Arguments: API URL, link host, link port, MQTT version, app key, master secret, registration ids of the iPhone and of the
link device, the link device's secret. Exits with an error unless the link device gets what it should, once.
"""

import json
import queue
import sys

import jpush
import jpush.common
import paho.mqtt.client as mqtt

PATIENCE = 60
QUIET = 1


def main(api, host, port, version, app_key, master_secret, iphone, device, device_secret):
    jpush.common.ZONES["DEFAULT"].update(
        PUSH=api + "/v3/",
        REPORT=api + "/v3/",
        DEVICE=api + "/v3/devices/",
        ALIAS=api + "/v3/aliases/",
        TAG=api + "/v3/tags/",
        SCHEDULE=api + "/v3/schedules/",
        ADMIN=api + "/v1/",
    )
    received = queue.Queue()
    protocol = {"3.1.1": mqtt.MQTTv311, "5": mqtt.MQTTv5}[version]
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=device, protocol=protocol)
    client.username_pw_set(app_key, device_secret)
    client.on_connect = lambda client, userdata, flags, reason, properties: received.put(("connected", str(reason)))
    client.on_subscribe = lambda client, userdata, mid, reasons, properties: received.put(("subscribed", reasons))
    client.on_message = lambda client, userdata, message: received.put((message.topic, json.loads(message.payload)))
    client.connect(host, int(port), keepalive=60)
    client.loop_start()
    what, reason = received.get(timeout=PATIENCE)
    assert (what, reason) == ("connected", "Success"), (what, reason)
    client.subscribe("push", qos=1)
    what, reasons = received.get(timeout=PATIENCE)
    assert what == "subscribed" and not reasons[0].is_failure, (what, reasons)

    sdk = jpush.JPush(app_key, master_secret)

    def push(audience, alert):
        push = sdk.create_push()
        push.platform = jpush.all_
        push.audience = audience
        push.notification = jpush.notification(alert=alert)
        return push

    to_all = push(jpush.all_, "to all")
    validated = to_all.send_validate()
    assert validated.status_code == 200, validated
    try:
        received.get(timeout=QUIET)
        raise AssertionError("a push that was only validated arrived")
    except queue.Empty:
        pass
    message = to_all.send().payload["msg_id"]
    topic, payload = received.get(timeout=PATIENCE)
    assert topic == "push" and payload["id"] == message, (topic, payload)
    assert payload["notification"]["alert"] == "to all", payload

    push(jpush.audience(jpush.registration_id(iphone)), "to one").send()
    message = push(jpush.audience(jpush.registration_id(device)), "to the link").send().payload["msg_id"]
    topic, payload = received.get(timeout=PATIENCE)
    assert payload["id"] == message and payload["notification"]["alert"] == "to the link", payload
    try:
        raise AssertionError(f"twice: {received.get(timeout=QUIET)}")
    except queue.Empty:
        pass

    try:
        push(jpush.audience(jpush.registration_id("0000000000000001")), "to nobody").send()
        raise AssertionError("a push to nobody was accepted")
    except jpush.common.JPushFailure as refused:
        assert refused.error_code == 1003, refused
    client.loop_stop()


main(*sys.argv[1:])
