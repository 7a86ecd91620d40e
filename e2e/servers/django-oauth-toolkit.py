#!/usr/bin/python3
"""Starts django-oauth-toolkit (Debian: python3-django-oauth-toolkit) as an
authorization server with a small API. Its settings come from the environment
variables that servers.go sets.

It asks for PKCE, protects its forms against CSRF, gives a new refresh token
with every refresh and revokes the old access token then.
"""

import os
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import django
from django.conf import settings
from jwcrypto import jwk

PORT = int(os.environ["PORT"])

LOGIN_PAGE = """<!doctype html>
<html lang="en">
<title>Sign in</title>
<form method="post">{% csrf_token %}{{ form }}<button>Log in</button></form>
</html>
"""

APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "oauth2_provider",
]


def configure():
    signing_key = jwk.JWK.generate(kty="RSA", size=2048)
    settings.configure(
        ALLOWED_HOSTS=["127.0.0.1"],
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": os.path.join(os.environ["DATA_DIR"], "django.sqlite"),
                "OPTIONS": {"timeout": 20},
            }
        },
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
        INSTALLED_APPS=APPS,
        LOGIN_URL="/login/",
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "oauth2_provider.middleware.OAuth2TokenMiddleware",
        ],
        # Without migrations the tables are made in one go, which is quicker.
        MIGRATION_MODULES={app.rpartition(".")[2]: None for app in APPS},
        OAUTH2_PROVIDER={
            "ACCESS_TOKEN_EXPIRE_SECONDS": int(os.environ["TOKEN_TTL"]),
            "ALLOWED_REDIRECT_URI_SCHEMES": ["http", "https"],
            "OIDC_ENABLED": True,
            "OIDC_RSA_PRIVATE_KEY": signing_key.export_to_pem(
                private_key=True, password=None
            ).decode(),
            "PKCE_REQUIRED": True,
            "REQUEST_APPROVAL_PROMPT": "force",
            "SCOPES": {"openid": "Who you are", "read": "Read", "write": "Write"},
        },
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        ROOT_URLCONF=__name__,
        SECRET_KEY=os.urandom(16).hex(),
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "OPTIONS": {
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.contrib.auth.context_processors.auth",
                    ],
                    "loaders": [
                        (
                            "django.template.loaders.locmem.Loader",
                            {"registration/login.html": LOGIN_PAGE},
                        ),
                        "django.template.loaders.app_directories.Loader",
                    ],
                },
            }
        ],
        USE_TZ=True,
    )
    django.setup()


def urls():
    from django.contrib.auth.views import LoginView
    from django.http import JsonResponse
    from django.urls import include, path
    from oauth2_provider.views.generic import ScopedProtectedResourceView

    class Me(ScopedProtectedResourceView):
        required_scopes = ["read"]

        def get(self, request):
            return JsonResponse({"user": request.resource_owner.username})

    return [
        path("o/", include("oauth2_provider.urls", namespace="oauth2_provider")),
        path("login/", LoginView.as_view()),
        path("api/me", Me.as_view()),
    ]


def fill_database():
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from oauth2_provider.models import Application

    call_command("migrate", run_syncdb=True, verbosity=0)
    for name in os.environ["USERS"].split():
        User.objects.create_user(name, name, os.environ["PASSWORD"])
    for client_id, client_type, secret in [
        ("basic", Application.CLIENT_CONFIDENTIAL, os.environ["CLIENT_SECRET"]),
        ("post", Application.CLIENT_CONFIDENTIAL, os.environ["CLIENT_SECRET"]),
        ("public", Application.CLIENT_PUBLIC, ""),
    ]:
        Application.objects.create(
            algorithm=Application.RS256_ALGORITHM,
            authorization_grant_type=Application.GRANT_AUTHORIZATION_CODE,
            client_id=client_id,
            client_secret=secret,
            client_type=client_type,
            name=client_id,
            redirect_uris=os.environ["REDIRECT_URIS"],
        )


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Handler(WSGIRequestHandler):
    def log_message(self, *args):
        """Logs nothing: request lines hold codes, and the tests search the
        output for secrets."""


configure()
urlpatterns = urls()

if __name__ == "__main__":
    from django.core.wsgi import get_wsgi_application

    fill_database()
    make_server("127.0.0.1", PORT, get_wsgi_application(), Server, Handler).serve_forever()
