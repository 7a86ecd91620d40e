// Starts panva's oidc-provider. Its settings come from the environment
// variables that servers.go sets.
//
// It rotates refresh tokens and, when a used one comes back, revokes the whole
// grant: it is the referee for "refreshed exactly once".

import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { Provider } from 'oidc-provider';

const { PORT, CLIENT_SECRET, REDIRECT_URIS, TOKEN_TTL } = process.env;
const issuer = `http://127.0.0.1:${PORT}`;
const scopes = ['openid', 'offline_access', 'email', 'profile'];

// One client for each way to prove itself: here the method is fixed by client.
const client = (id, method, secret) => ({
  client_id: id,
  client_name: id,
  client_secret: secret,
  token_endpoint_auth_method: method,
  redirect_uris: REDIRECT_URIS.split(' '),
  response_types: ['code'],
  grant_types: ['authorization_code', 'refresh_token'],
  scope: scopes.join(' '),
});

const signingKey = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;

const provider = new Provider(issuer, {
  clients: [
    client('basic', 'client_secret_basic', CLIENT_SECRET),
    client('post', 'client_secret_post', CLIENT_SECRET),
    client('public', 'none'),
  ],
  jwks: { keys: [{ ...signingKey.export({ format: 'jwk' }), kid: 'test', use: 'sig' }] },
  cookies: { keys: [randomBytes(16).toString('hex')] },
  scopes,
  claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'] },
  ttl: {
    AccessToken: Number(TOKEN_TTL),
    Grant: 86400,
    IdToken: 3600,
    Interaction: 600,
    RefreshToken: 86400,
    Session: 86400,
  },
  rotateRefreshToken: true,
  // Any user name and any password will do: these are the package's own pages.
  features: {
    devInteractions: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true },
  },
  findAccount: (ctx, id) => ({
    accountId: id,
    claims: () => ({ sub: id, email: id, email_verified: true, name: id }),
  }),
});

// Errors carry the reason only: what a client sent must not reach the output,
// which the tests search for secrets.
for (const event of ['authorization.error', 'grant.error', 'server_error']) {
  provider.on(event, (ctx, err) => console.error(event, err.message, err.error_detail ?? ''));
}

provider.listen(Number(PORT), '127.0.0.1');
