"""
Two OAuth clients for JavaScript, at a real server over TLS, by the code of docs/guide.md. `make javascript` fetches
them from the registry of npm and runs this; it is no part of `make test`, which does with Python alone.
"""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.e2e.conftest import Certificate, Folder

ROOT = Path(__file__).parent.parent.parent
GOOD = {"active": True, "scope": "api:client:v2 temporary:passes:owner", "watches": True}
#: what every script begins with: the address, and who it is there
BEGINNING = """
import * as oauth4webapi from 'oauth4webapi'
import * as oauth from 'openid-client'
import { created, register, connect } from './guide.mjs'

const { address, statement } = JSON.parse(process.env.TRIED)
const made = await register(address, statement)
const title = '{"resources":["R1"]}'
const watch = new URL('/api/v2/ACME1/decisions/authorize/Basic', address)
const headers = new Headers({
  'Content-Type': 'application/json', 'AP-Device-Identifier': 'fingerprint dHZib3gtNGYxOWMyYTA=',
})
const client = { client_id: made.client_id }, proof = oauth4webapi.ClientSecretPost(made.client_secret)

async function discovered() {
  const issuer = new URL(address)
  const answer = await oauth4webapi.discoveryRequest(issuer, { algorithm: 'oauth2' })
  return oauth4webapi.processDiscoveryResponse(issuer, answer)
}

async function granted(as, options) {
  const answer = await oauth4webapi.clientCredentialsGrantRequest(as, client, proof, {}, options)
  return oauth4webapi.processClientCredentialsResponse(as, client, answer)
}

async function tell({ active, scope }, answer) {
  const watches = (await answer.json()).decisions[0].authorized
  console.log(JSON.stringify({ active, scope, watches }))
}
"""
OPENID_CLIENT = """
const config = await connect(address, made)
const { access_token } = await oauth.clientCredentialsGrant(config)
const told = await oauth.tokenIntrospection(config, access_token)
await tell(told, await oauth.fetchProtectedResource(config, access_token, watch, 'POST', title, headers))
"""
OAUTH4WEBAPI = """
const as = await discovered()
const { access_token } = await granted(as, { [oauth4webapi.customFetch]: created })
const answer = await oauth4webapi.introspectionRequest(as, client, proof, access_token)
const told = await oauth4webapi.processIntrospectionResponse(as, client, answer)
await tell(told, await oauth4webapi.protectedResourceRequest(access_token, 'POST', watch, headers, title))
"""
OPENID_CLIENT_ALONE = """
const config = await oauth.discovery(
  new URL(address), made.client_id, made.client_secret, undefined, { algorithm: 'oauth2' }
)
await oauth.clientCredentialsGrant(config).catch((error) => console.log(JSON.stringify(error.message)))
"""
OAUTH4WEBAPI_ALONE = """
await granted(await discovered(), {}).catch((error) => console.log(JSON.stringify(error.message)))
"""


@pytest.mark.parametrize(
    ("script", "told"),
    [
        pytest.param(OPENID_CLIENT, GOOD, id="openid-client"),
        pytest.param(OAUTH4WEBAPI, GOOD, id="oauth4webapi"),
        pytest.param(OPENID_CLIENT_ALONE, "unexpected HTTP response status code", id="openid-client alone"),
        pytest.param(
            OAUTH4WEBAPI_ALONE,
            '"response" is not a conform Token Endpoint response (unexpected HTTP status code)',
            id="oauth4webapi alone",
        ),
    ],
)
def test_a_client_for_javascript_does_as_the_guide_says(
    folder: "Folder", certificate: "Certificate", script: str, told: Any
) -> None:
    (block,) = re.findall(r"```js\n(import \* as oauth from 'openid-client'\n.*?)```", guide(), re.DOTALL)
    (folder.path / "guide.mjs").write_text(block)
    (folder.path / "script.mjs").write_text(BEGINNING + script)
    (folder.path / "node_modules").symlink_to(ROOT / ".venv/javascript/node_modules")
    folder.declare()
    server = folder.serve("--tls-cert", str(certificate.chain), "--tls-key", str(certificate.key))
    tried = {"address": server.url, "statement": folder.temppass("statement", "mint", "ops").out.strip()}
    done = subprocess.run(
        ["node", "script.mjs"],
        cwd=folder.path,
        env={"PATH": os.environ["PATH"], "NODE_EXTRA_CA_CERTS": str(certificate.chain), "TRIED": json.dumps(tried)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stderr, done.stdout and json.loads(done.stdout)) == ("", told)


def guide() -> str:
    return (ROOT / "docs/guide.md").read_text("utf-8")
