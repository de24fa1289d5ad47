"""Gives requests what a schema cannot know: ids that exist, names that are registered.

Every other request of an operation that is meant to be right is mended so; the rest goes out as it
was made up. The objects that the run itself stands on are never touched: a request that would change
one goes to another object of its kind.
"""

import base64
import itertools
import json
import os
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests
import schemathesis

URL = os.environ["DSM_URL"]
OPERATOR = {"Authorization": "Bearer " + os.environ["DSM_OPERATOR_TOKEN"]}
CLIENT = {"Authorization": "Bearer " + os.environ["DSM_ACCESS_TOKEN"]}
OWN_CLIENT = os.environ["DSM_CLIENT_ID"]
OWN_SECRET = os.environ["DSM_CLIENT_SECRET"]

numbers = itertools.count(1)
calls = Counter()


def ask(method, path, body=None, headers=OPERATOR):
    answer = requests.request(method, URL + path, json=body, headers=headers, timeout=30)
    answer.raise_for_status()
    return answer.json() if answer.content else {}


def fresh(kind):
    return f"{kind}-{next(numbers)}"


# Objects, each made anew; every function gives the id.


def registry_entry(registry):
    return ask("POST", f"/api/v1/{registry}", {"name": fresh("entry")})["id"]


def application():
    body = {"name": fresh("application"), "authentication_method": "oauth2"}
    return ask("POST", "/api/v1/applications", body)["id"]


def authorization(of=None):
    body = {
        "name": fresh("authorization"),
        "enabled": True,
        "encrypt_sensitive": False,
        "allow_application_creation": True,
        "environment": NAMES["environment"],
        "system": NAMES["system"],
        "allowed_ips": ["*"],
    }
    path = f"/api/v1/applications/{of or application()}/authorizations"
    return ask("POST", path, body)["id"]


def secret():
    """A secret of two versions."""
    fields = lambda value: {"key_value": {"fields": {"PASSWORD": value}}}
    body = {"identity": fresh("secret"), "name": "A secret", "data": fields("first")}
    made = ask("POST", "/api/v1/secrets", body)["id"]
    ask("PATCH", f"/api/v1/secrets/{made}", {"data": fields("second")})
    return made


def operator():
    return ask("POST", "/api/v1/operators", {"name": fresh("operator"), "permissions": []})["id"]


def written_secret():
    """A secret of the client; gives its identity."""
    identity = fresh("written/secret")
    body = {"identity": identity, "name": "A secret", "data": {"PASSWORD": "value"}}
    ask("POST", "/iso/sctm/secret", body, CLIENT)
    return identity


def token(id=OWN_CLIENT, secret=OWN_SECRET):
    grant = {"grant_type": "client_credentials", "client_id": id, "client_secret": secret}
    return ask("POST", "/iso/oauth2/token", grant, {})["access_token"]


def token_of_another():
    made = authorization()
    shown = ask("POST", f"/api/v1/authorizations/{made}/credentials")
    return token(shown["client_id"], shown["client_secret"])


def environment():
    """The environment of a pipeline with one variable, as it is sent."""
    name = fresh("NAME").replace("-", "_")
    encoded = base64.b64encode(f"{name}=value".encode()).decode()
    return encoded.translate(str.maketrans("+/=", "-_,"))


def variable():
    ask("POST", "/iso/cicd/variables", {"env": environment(), "map": ""}, CLIENT)
    return ask("GET", "/api/v1/variables?limit=1")["items"][0]["id"]


class Receiver(BaseHTTPRequestHandler):
    """The system of the run: everything can be done there, but for the account `stuck`."""

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        stuck = asked.get("account") == "stuck"
        answer = {"done": True, "accepted": not stuck, "accounts": [], "keys": [], "checks": []}
        # Whether a change took effect is not told.
        status = 500 if stuck and asked["operation"] == "change_password" else 200
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


RECEIVER = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
threading.Thread(target=RECEIVER.serve_forever, daemon=True).start()
ADDRESS = f"127.0.0.1:{RECEIVER.server_address[1]}"
ADMIN = {"username": "run", "password": "run"}


def target(name=None):
    body = {"name": name or fresh("target"), "provider": "webhook", "address": ADDRESS}
    return ask("POST", "/api/v1/targets", body | {"admin_credential": ADMIN})["id"]


def profile(identifier=None):
    body = {"identifier": identifier or fresh("profile"), "kind": "credential", "target": TARGET}
    return ask("POST", "/api/v1/profiles", body)["id"]


def managed_secret(account):
    """A secret with a password on the target."""
    item = {"target": TARGET, "fields": {"user": account, "password": "value"}}
    data = {"credentials": [{"credential": item}]}
    body = {"identity": fresh("managed"), "name": "A secret", "data": data}
    return ask("POST", "/api/v1/secrets", body)["id"]


def provisioned_secret():
    """A secret of the client's whose accounts are made; gives its id and identity."""
    data = {"ephemeral_credentials": [{"ephemeral_credential": {"profile": PROFILE, "fields": {}}}]}
    body = {"identity": fresh("provisioned"), "name": "A secret", "data": data}
    made = ask("POST", "/api/v1/secrets", body)["id"]
    ask("PUT", f"/api/v1/authorizations/{OWN_AUTHORIZATION}/secrets/{made}")
    return made, body["identity"]


def lease():
    secret, _ = provisioned_secret()
    ask("POST", f"/api/v1/secrets/{secret}/rotate", {})
    return ask("GET", "/api/v1/leases?limit=1")["items"][0]["id"]


def stopped_attempt():
    """The attempt of a secret that waits for an operator."""
    secret = managed_secret("stuck")
    ask("POST", f"/api/v1/secrets/{secret}/rotate", {})
    for _ in range(100):
        attempt = ask("GET", f"/api/v1/secrets/{secret}/attempts")["items"][0]
        if attempt["state"] == "needs_operator":
            return {"id": secret, "n": attempt["id"]}
        time.sleep(0.2)
    raise RuntimeError(f"it does not wait for an operator: {attempt}")


CONTAINER = {"deploy": "deploy", "namespace": "space"}


def container():
    """A container that was provisioned, as it is given back."""
    body = CONTAINER | {"pod_name": fresh("pod")}
    given = ask("POST", "/iso/coe/dapp/provision", body, CLIENT)["application"]
    newest = max(given["secrets"], key=lambda secret: int(secret["secret_id"]))
    return body | {"secret_id": newest["secret_id"]}


NAMES = {}
for field, registry in {
    "environment": "environments",
    "system": "systems",
    "engine": "engines",
    "application_type": "application-types",
    "line_of_business": "lines-of-business",
}.items():
    NAMES[field] = fresh(field)
    ask("POST", f"/api/v1/{registry}", {"name": NAMES[field]})

OWN_OPERATOR = ask("GET", "/api/v1/me")["id"]
# The first of each is what the server began with.
OWN_APPLICATION = OWN_AUTHORIZATION = "1"
ATTACHED = secret()
TARGET, PROFILE = fresh("target"), fresh("profile")
target(TARGET)
profile(PROFILE)
ask(
    "PATCH",
    f"/api/v1/applications/{OWN_APPLICATION}",
    {
        "automatic_provisioning": True,
        "credential_profiles": [{"device": TARGET, "profile": PROFILE}],
    },
)
STOPPED = stopped_attempt()
# Made once: a key pair takes a while.
SEALING = authorization()
ask("PATCH", f"/api/v1/authorizations/{SEALING}", {"encrypt_sensitive": True})
PUBLIC_KEY = requests.get(
    f"{URL}/api/v1/authorizations/{SEALING}/public-key", headers=OPERATOR, timeout=30
).text


def ids(path, method):
    """Values for the parameters of a path that lead to something."""
    parts = path.split("/")
    if path.startswith("/iso/"):
        return {"identity": written_secret()} if "{identity}" in path else {}
    if "{id}" not in path:
        return {}
    collection = parts[3]
    if collection == "applications":
        return {"id": application()}
    if path.endswith("-key") and method == "GET":
        return {"id": SEALING}
    if collection == "authorizations":
        made = authorization()
        if "{secret_id}" in path:
            ask("PUT", f"/api/v1/authorizations/{made}/secrets/{ATTACHED}")
            return {"id": made, "secret_id": ATTACHED}
        if "{client_id}" in path:
            clients = ask("GET", f"/api/v1/authorizations/{made}/clients")["items"]
            return {"id": made, "client_id": clients[0]["id"]}
        return {"id": made}
    if path.endswith("/settle"):
        return STOPPED
    if path.endswith("/rotate"):
        return {"id": managed_secret(fresh("account"))}
    if collection == "secrets":
        return {"id": secret(), "n": "1"} if "{n}" in path else {"id": secret()}
    if collection == "operators":
        return {"id": operator()}
    if collection == "variables":
        return {"id": variable()}
    if collection == "targets":
        return {"id": target()}
    if collection == "profiles":
        return {"id": profile()}
    if collection == "leases":
        return {"id": lease()}
    return {"id": registry_entry(collection)}


FUTURE = "2100-01-01T00:00:00Z"


def mended(name, value):
    """The value of a field that can be right."""
    if name in NAMES:
        return NAMES[name]
    if name in ("name", "application", "identity", "identifier", "unique_key"):
        return fresh("made")
    if name in ("expires_at", "expiration_date"):
        return FUTURE
    if name == "env":
        return environment()
    if name == "token":
        return token()
    return {
        "address": ADDRESS,
        "admin_credential": ADMIN,
        "allowed_ips": ["127.0.0.1"],
        "allowed_referrers": [],
        "allowed_http_referers": [],
        "authentication_method": "oauth2",
        "authorized_resources": ["Application", "Secret Management"],
        "aws_arns": [],
        "certificate_fingerprint": None,
        "cloud_profiles": [],
        "creation_template": None,
        "credential_profiles": [],
        "data": {"key_value": {"fields": {"PASSWORD": "value"}}},
        "description": "A description",
        "encryption_enabled": False,
        "decision": "retry",
        "grant_type": "client_credentials",
        "kind": "credential",
        "map": "",
        "options": {},
        "overlap_seconds": 60,
        "password_policy": {"length": 20},
        "policies": [],
        "provider": "webhook",
        "public_key": PUBLIC_KEY,
        "removal_template": None,
        "roles": [],
        "secrets": [ATTACHED],
        "tags": ["tag"],
        "target": TARGET,
        "ttl_seconds": 600,
    }.get(name, value)


# Fields that do not go with others, or are no change that can be made.
LEFT_OUT = {
    "POST": ("expires_in_days", "certificate_fingerprint"),
    "PATCH": ("authentication_method", "certificate_fingerprint"),
}
# Fields without which nothing can be done, though each alone may be left out.
ADDED = {
    "POST /iso/sctm/secret": ("name",),
    "POST /iso/dapp/application": ("system", "environment"),
}


# What stays as it was made.
KEPT = {
    "/api/v1/targets/{id}": ("name", "provider"),
    "/api/v1/profiles/{id}": ("identifier", "kind", "target"),
}


def mend(case):
    path, method = case.operation.path, case.operation.method.upper()
    found = ids(path, method)
    if found:
        case.path_parameters = {**(case.path_parameters or {}), **found}
    if isinstance(case.body, dict):
        left_out = LEFT_OUT.get(method, ())
        fields = case.body
        if path.startswith("/iso/oauth2/"):
            # The credentials are in the header.
            fields = {name: fields[name] for name in ("grant_type", "token") if name in fields}
        body = {
            name: mended(name, value)
            for name, value in fields.items()
            if name not in left_out and name not in KEPT.get(path, ())
        }
        for name in ADDED.get(case.operation.label, ()):
            body[name] = mended(name, None)
        case.body = body
    if path.endswith("/deprovision"):
        case.body = container()
    elif path.endswith("/provision") and method == "POST":
        case.body = {"identity": provisioned_secret()[1]}
    query = {
        name: value
        for name, value in (case.query or {}).items()
        if name in ("limit", "purge", "from", "to")
    }
    if path.endswith("/provision") and method == "GET":
        query = {"identity": provisioned_secret()[1]}
    elif path.endswith("/compare"):
        query = {"from": "2", "to": "1"}
    elif path in ("/api/v1/audit", "/api/v1/api-logs"):
        query = {}
    case.query = query
    headers = case.headers or {}
    for name in ("Idempotency-Key", "If-Match"):
        headers.pop(name, None)
    case.headers = headers


def protect(case, kwargs):
    path, method = case.operation.path, case.operation.method.upper()
    parameters = dict(case.path_parameters or {})
    id = str(parameters.get("id"))
    if method != "GET":
        if path.startswith("/api/v1/operators/") and id == OWN_OPERATOR:
            parameters["id"] = operator()
        elif path.startswith("/api/v1/applications/") and id == OWN_APPLICATION:
            parameters["id"] = application()
        elif path.startswith("/api/v1/authorizations/") and id == OWN_AUTHORIZATION:
            parameters["id"] = authorization()
        else:
            for field, registry in {"environment": "environments", "system": "systems"}.items():
                if path.startswith(f"/api/v1/{registry}/") and id in OWN_ENTRIES[field]:
                    parameters["id"] = registry_entry(registry)
        case.path_parameters = parameters
    if path == "/iso/dapp/application/authorization" and method == "DELETE":
        headers = case.headers or {}
        if headers.get("Authorization") == CLIENT["Authorization"]:
            headers["Authorization"] = "Bearer " + token_of_another()
            case.headers = headers


def entries(registry):
    found, after = [], ""
    while True:
        page = ask("GET", f"/api/v1/{registry}?limit=500{after}")
        found += [item["id"] for item in page["items"]]
        if page["next"] is None:
            return found
        after = f"&after={page['next']}"


# Those that authorizations of the run use.
OWN_ENTRIES = {"environment": entries("environments"), "system": entries("systems")}


def trim(case):
    """Takes the space around header values away, as HTTP does, so that nothing counts as wrong for it."""
    for name, value in list((case.headers or {}).items()):
        if isinstance(value, str) and value != value.strip(" \t"):
            case.headers[name] = value.strip(" \t")


@schemathesis.hook
def before_call(context, case, kwargs):
    trim(case)
    meant_to_be_right = case.meta is not None and case.meta.generation.mode.is_positive
    if meant_to_be_right:
        calls[case.operation.label] += 1
        if calls[case.operation.label] % 2:
            mend(case)
    protect(case, kwargs)
