// Starts an authorization server on @node-oauth/oauth2-server, with a store in
// memory and a small API. Its settings come from the environment variables
// that servers.go sets.
//
// It is plain OAuth 2.0: no discovery, no OpenID Connect, and HTTP Basic taken
// as it is, without the form encoding that RFC 6749 section 2.3.1 asks for.

import http from 'node:http';
import OAuth2Server from '@node-oauth/oauth2-server';

const { Request, Response } = OAuth2Server;
const { PORT, CLIENT_SECRET, PASSWORD, REDIRECT_URIS, TOKEN_TTL, USERS } = process.env;
const users = USERS.split(' ');

const client = (id, secret) => ({
  id,
  secret,
  grants: ['authorization_code', 'refresh_token'],
  redirectUris: REDIRECT_URIS.split(' '),
});
const clients = [client('basic', CLIENT_SECRET), client('post', CLIENT_SECRET), client('public')];

const codes = new Map();
const accessTokens = new Map();
const refreshTokens = new Map();

const model = {
  // The authorization endpoint asks without a secret, and so does a token
  // request of a client that need not prove itself.
  getClient: (id, secret) => clients.find((c) => c.id === id && (!secret || c.secret === secret)),

  saveAuthorizationCode: (code, client, user) => {
    const saved = { ...code, client, user };
    codes.set(code.authorizationCode, saved);
    return saved;
  },
  getAuthorizationCode: (code) => codes.get(code),
  revokeAuthorizationCode: (code) => codes.delete(code.authorizationCode),

  saveToken: (token, client, user) => {
    const saved = { ...token, client, user };
    accessTokens.set(token.accessToken, saved);
    refreshTokens.set(token.refreshToken, saved);
    return saved;
  },
  getAccessToken: (token) => accessTokens.get(token),
  getRefreshToken: (token) => refreshTokens.get(token),
  revokeToken: (token) => refreshTokens.delete(token.refreshToken),

  validateScope: (user, client, scope) => scope ?? ['read'],
};

const oauth = new OAuth2Server({ model, accessTokenLifetime: Number(TOKEN_TTL) });

const authenticateHandler = {
  handle: ({ body }) =>
    users.includes(body.username) && body.password === PASSWORD && { id: body.username },
};

// The form posts to the address it was shown at, whose query is the
// authorization request.
const loginPage = `<!doctype html>
<html lang="en">
<title>Sign in</title>
<form method="post">
  <label>User <input name="username"></label>
  <label>Password <input name="password" type="password"></label>
  <button name="allowed" value="true">Allow</button>
  <button name="allowed" value="false">Deny</button>
</form>
</html>
`;

async function token(request, response) {
  const isPublic = request.body.client_id === 'public';
  const requireClientAuthentication = isPublic
    ? { authorization_code: false, refresh_token: false }
    : {};
  await oauth.token(request, response, { requireClientAuthentication });
}

async function me(request, response) {
  const { user, scope } = await oauth.authenticate(request, response);
  response.body = { user: user.id, scope };
}

const routes = {
  'GET /authorize': async (request, response) => {
    response.headers['content-type'] = 'text/html; charset=utf-8';
    response.body = loginPage;
  },
  'POST /authorize': (request, response) =>
    oauth.authorize(request, response, { authenticateHandler }),
  'POST /token': token,
  'GET /api/me': me,
};

async function serve(req, res) {
  const url = new URL(req.url, `http://127.0.0.1:${PORT}`);
  const body = [];
  for await (const chunk of req) body.push(chunk);

  const request = new Request({
    headers: req.headers,
    method: req.method,
    query: Object.fromEntries(url.searchParams),
    body: Object.fromEntries(new URLSearchParams(Buffer.concat(body).toString())),
  });
  const response = new Response({ headers: {} });
  const route = routes[`${req.method} ${url.pathname}`];
  try {
    if (route) await route(request, response);
    else response.status = 404;
  } catch (err) {
    // The library has put a redirect with the error into the response where
    // the specification wants one.
    if (!response.headers.location) {
      response.status = err.code ?? 500;
      response.body = { error: err.name, error_description: err.message };
    }
  }

  const isText = typeof response.body === 'string';
  res.writeHead(response.status, { 'content-type': 'application/json', ...response.headers });
  res.end(isText ? response.body : JSON.stringify(response.body ?? {}));
}

http.createServer(serve).listen(Number(PORT), '127.0.0.1');
