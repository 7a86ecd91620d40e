// Starts panva's oidc-provider. Its settings come from the environment
// variables that servers.go sets.
//
// It rotates refresh tokens and, when a used one comes back, revokes the whole
// grant: it is the referee for "refreshed exactly once". At /issued it says what
// it has issued.

import { createHash, generateKeyPairSync, randomBytes } from 'node:crypto';
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

// Everything that is stored. The package's own memory drops what is old when it
// holds a thousand things, which a storm of refreshes makes in a minute.
const stored = new Map();
const indexes = { uid: new Map(), userCode: new Map() };

class Memory {
  constructor(model) { this.model = model; }

  key(id) { return `${this.model}:${id}`; }

  async upsert(id, payload) {
    stored.set(this.key(id), payload);
    for (const [name, index] of Object.entries(indexes)) {
      if (payload[name]) index.set(`${this.model}:${payload[name]}`, id);
    }
  }

  async find(id) { return stored.get(this.key(id)); }

  async findByUid(uid) { return this.find(indexes.uid.get(this.key(uid))); }

  async findByUserCode(code) { return this.find(indexes.userCode.get(this.key(code))); }

  async consume(id) { stored.get(this.key(id)).consumed = Math.floor(Date.now() / 1000); }

  async destroy(id) { stored.delete(this.key(id)); }

  async revokeByGrantId(id) {
    for (const [key, payload] of stored) {
      if (key.startsWith(`${this.model}:`) && payload.grantId === id) stored.delete(key);
    }
  }
}

const provider = new Provider(issuer, {
  adapter: Memory,
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

// What was issued, by grant: when the newest refresh token was, to whom, and what
// came of used ones.
const issued = { refreshes: 0, grants: {} };

provider.on('refresh_token.saved', (token) => {
  const grant = issued.grants[token.grantId] ??= { id: token.grantId, subject: token.accountId, generation: 0, duplicates: 0, revoked: false };
  grant.generation += 1;
  grant.committed_us = Math.round((performance.timeOrigin + performance.now()) * 1000);
  grant.issued_sha256 = createHash('sha256').update(token.jti).digest('hex').slice(0, 16);
  grant.by = Provider.ctx?.get('user-agent');
});

provider.on('grant.error', (ctx, err) => {
  const token = ctx.oidc.entities.RefreshToken;
  if (token && err.error_detail === 'refresh token already used') issued.grants[token.grantId].duplicates += 1;
});

provider.on('grant.revoked', (ctx, id) => {
  if (issued.grants[id]) issued.grants[id].revoked = true;
});

provider.use(async (ctx, next) => {
  if (ctx.path === '/issued') {
    ctx.body = { ...issued, grants: Object.values(issued.grants) };
    return;
  }
  await next();
  if (ctx.oidc?.params?.grant_type === 'refresh_token') issued.refreshes += 1;
});

provider.listen(Number(PORT), '127.0.0.1');
