"""Sends messages with xmpush-python. Reads the address, the secret and the messages as JSON, and prints what the client
reports of each: the answer's data, or the code that it logged."""

import collections
import collections.abc
import json
import logging
import re
import sys

# The library is of Python 3's first years.
collections.Iterable = collections.abc.Iterable

from xmpush.APISender import APISender
from xmpush.APITools import APITools
from xmpush.base.APIConstants import Constants
from xmpush.base.APIError import APIError
from xmpush.base.APIMessage import PushMessage

logged = []


class Remember(logging.Handler):
    def emit(self, record):
        logged.append(record.getMessage())


logging.basicConfig(handlers=[Remember()], level=logging.ERROR)


def outcome(call):
    logged.clear()
    try:
        return {"code": 0, "data": call().get("data")}
    except APIError:
        # It raises "retry failure" only, and logs what it was told.
        codes = [match[1] for match in map(re.compile(r"code:\[(-?\d+)\]").match, logged) if match]
        return {"code": int(codes[-1]), "data": None}


given = json.load(sys.stdin)
Constants.host = given["host"]
sender = APISender(given["app_secret"])
reports = []
for push in given["messages"]:
    message = (
        PushMessage()
        .restricted_package_name(given["package_name"])
        .title(push["title"])
        .description("Two to one")
        .pass_through(0)
        .notify_type(-1)
        .notify_id(7)
        .time_to_live(3600000)
        .payload("%7B%22score%22%3A3%7D")
        .extra({"channel_id": "2000", Constants.extra_param_notify_effect: Constants.notify_launcher_activity})
    )
    reports.append(outcome(lambda: sender.send(message.message_dict(), push["regids"], retry_times=1)))
tools = APITools(given["app_secret"])
reports.append(outcome(lambda: tools.query_invalid_reg_ids(retry_times=1)))
print(json.dumps(reports))
