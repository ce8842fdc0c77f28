"""
The same authorize endpoint as one would write it with FastAPI, SQLAlchemy's asynchronous ORM and PyJWT: pydantic
models, one row a trial, one transaction a request, the bearer token verified and the media token signed with RS256.

Everything that could be left to idiom and helps it, does: keys are parsed once, the catalogue is in memory, nothing is
audited or revoked, moments are integers. It prints TOKEN='…' on stdout and
`listening on URL` on stderr. `--media-algorithm ES256` shows what the choice of algorithm alone is worth.
"""

import argparse
import base64
import binascii
import hashlib
import secrets
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import jwt
import uvicorn
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from fastapi import Depends, FastAPI, Header, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from sqlalchemy import BigInteger, LargeBinary, String, event
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

AUDIENCE, ISSUER, SCOPE = "release-production", "auth.example", "api:client:v2"
MEDIA_TOKEN_S = 420
#: the catalogue: TTL of each (channel, pass), in milliseconds
PASSES = {("REF", "TempPassREF"): 1_800_000}

parser = argparse.ArgumentParser()
parser.add_argument("--database", required=True, help="SQLAlchemy URL")
parser.add_argument("--media-algorithm", choices=("RS256", "ES256"), default="RS256")
options = parser.parse_args()

access_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
access_public_key = access_key.public_key()
media_key = access_key if options.media_algorithm == "RS256" else ec.generate_private_key(ec.SECP256R1())
engine: AsyncEngine = create_async_engine(options.database, pool_size=20)
sessions = async_sessionmaker(engine, expire_on_commit=False)

if engine.dialect.name == "sqlite":

    @event.listens_for(engine.sync_engine, "connect")
    def make_durable(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA busy_timeout = 30000")
        cursor.close()


class Base(DeclarativeBase):
    pass


class Trial(Base):
    __tablename__ = "trial"

    channel: Mapped[str] = mapped_column(String(64), primary_key=True)
    mvpd: Mapped[str] = mapped_column(String(64), primary_key=True)
    device: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    started_at: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[int] = mapped_column(BigInteger)


class Shape(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class AuthorizeRequest(BaseModel):
    resources: Annotated[list[str], Field(min_length=1, max_length=5)]


class MediaToken(Shape):
    not_before: int
    not_after: int
    serialized_token: str


class DecisionError(Shape):
    action: str = "none"
    status: int = 403
    code: str = "temporary_access_duration_limit_exceeded"
    message: str = "The trial is over."


class Decision(Shape):
    resource: str
    service_provider: str
    mvpd: str
    source: str = "temppass"
    authorized: bool
    token: MediaToken | None = None
    not_before: int | None = None
    not_after: int | None = None
    error: DecisionError | None = None


class Decisions(Shape):
    decisions: list[Decision]


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


async def verified(credentials: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]) -> dict[str, Any]:
    try:
        claims: dict[str, Any] = jwt.decode(
            credentials.credentials, access_public_key, algorithms=["RS256"], audience=AUDIENCE, issuer=ISSUER
        )
    except jwt.InvalidTokenError as error:
        raise HTTPException(401, "invalid_access_token") from error
    if SCOPE not in claims["scopes"].split(","):
        raise HTTPException(403, "insufficient_scope")
    return claims


async def device_id(ap_device_identifier: Annotated[str, Header()]) -> bytes:
    kind, _, encoded = ap_device_identifier.partition(" ")
    try:
        device = base64.b64decode(encoded, validate=True)
    except binascii.Error as error:
        raise HTTPException(400, "invalid_header_device_identifier") from error
    if kind != "fingerprint" or not device:
        raise HTTPException(400, "invalid_header_device_identifier")
    return hashlib.sha256(device).digest()


async def database() -> AsyncIterator[AsyncSession]:
    async with sessions() as session:
        yield session


async def trial_of(session: AsyncSession, key: tuple[str, str, bytes], now: int, ttl_ms: int) -> Trial:
    """Find the trial or begin it; what began is committed before anything is answered."""
    trial = await session.get(Trial, key)
    if trial is None:
        trial = Trial(channel=key[0], mvpd=key[1], device=key[2], started_at=now, expires_at=now + ttl_ms)
        session.add(trial)
        try:
            await session.commit()
        except IntegrityError:  # another request has begun it meanwhile
            await session.rollback()
            trial = await session.get_one(Trial, key)
    return trial


@app.post("/api/v2/{channel}/decisions/authorize/{mvpd}", response_model_exclude_none=True)
async def authorize(
    channel: str,
    mvpd: str,
    asked: AuthorizeRequest,
    device: Annotated[bytes, Depends(device_id)],
    _claims: Annotated[dict[str, Any], Depends(verified)],
    session: Annotated[AsyncSession, Depends(database)],
) -> Decisions:
    ttl_ms = PASSES.get((channel, mvpd))
    if ttl_ms is None:
        raise HTTPException(400, "invalid_parameter_mvpd")
    now = time.time_ns() // 1_000_000
    trial = await trial_of(session, (channel, mvpd, device), now, ttl_ms)
    return Decisions(decisions=[decide(trial, resource, now) for resource in asked.resources])


def decide(trial: Trial, resource: str, now: int) -> Decision:
    named = {"resource": resource, "service_provider": trial.channel, "mvpd": trial.mvpd}
    if now >= trial.expires_at:
        return Decision(**named, authorized=False, error=DecisionError())
    user_id = "temppass_" + hashlib.sha256(b"user:" + trial.device).hexdigest()[:40]
    claims = {
        "sub": user_id, "requestor": trial.channel, "mvpd": trial.mvpd, "resource": resource, "iat": now // 1000,
        "exp": now // 1000 + MEDIA_TOKEN_S, "ttl": MEDIA_TOKEN_S * 1000, "jti": secrets.token_hex(8),
    }  # fmt: skip
    signed = jwt.encode(claims, media_key, options.media_algorithm, {"kid": "media"})
    token = MediaToken(
        not_before=now,
        not_after=now + MEDIA_TOKEN_S * 1000,
        serialized_token=base64.b64encode(signed.encode()).decode(),
    )
    return Decision(**named, authorized=True, token=token, not_before=now, not_after=trial.expires_at)


def access_token() -> str:
    now = int(time.time())
    claims = {
        "sub": "bench", "iss": ISSUER, "aud": AUDIENCE, "iat": now, "nbf": now, "exp": now + 21_600, "scopes": SCOPE,
        "jti": secrets.token_hex(8),
    }  # fmt: skip
    return jwt.encode(claims, access_key, "RS256", {"kid": "access"})


class Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print(f"TOKEN='{access_token()}'", flush=True)
        print(f"listening on http://127.0.0.1:{sockets[0].getsockname()[1]}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    config = uvicorn.Config(app, loop="uvloop", http="httptools", access_log=False, log_level="warning")
    Server(config).run([socket.create_server(("127.0.0.1", 0), backlog=2048)])
