// npm's oidc-provider, set up to do what our token endpoint does: client_credentials, the client's secret in the form,
// and an access token that is a JWT signed with RS256 by a 2048-bit key. Everything is in memory (its own adapter).
// It prints CLIENT='{…}' on stdout and `listening on URL` on stderr.
import { generateKeyPairSync, randomBytes, randomUUID } from 'node:crypto'
import Provider from 'oidc-provider'

const SCOPES = 'api:client:v2 temporary:passes:owner'
const RESOURCE = 'urn:temppass:release-production'
const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
const key = { ...privateKey.export({ format: 'jwk' }), kid: randomBytes(8).toString('hex'), use: 'sig', alg: 'RS256' }
const client = { client_id: randomUUID(), client_secret: randomBytes(32).toString('base64url') }

const provider = new Provider('http://127.0.0.1', {
  clients: [{
    ...client,
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
    token_endpoint_auth_method: 'client_secret_post',
    scope: SCOPES,
  }],
  jwks: { keys: [key] },
  scopes: SCOPES.split(' '),
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => RESOURCE,
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({
        scope: SCOPES,
        audience: RESOURCE,
        accessTokenTTL: 21600,
        accessTokenFormat: 'jwt',
        jwt: { sign: { alg: 'RS256' } },
      }),
    },
  },
})

const server = provider.listen(0, '127.0.0.1', () => {
  console.log(`CLIENT='${JSON.stringify(client)}'`)
  console.error(`listening on http://127.0.0.1:${server.address().port}`)
})
