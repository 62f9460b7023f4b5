import asyncio
import os
import tempfile

import django
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.http import (
    FileResponse,
    HttpResponse,
    HttpResponseRedirect,
    JsonResponse,
    StreamingHttpResponse,
)
from django.middleware.csrf import get_token

FOLDER = tempfile.mkdtemp(prefix="django-")  # below TMPDIR, which is the test's own
settings.configure(
    DEBUG=False,
    SECRET_KEY="secret",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=[
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.messages",
        "django.contrib.sessions",
    ],
    MIDDLEWARE=[
        "django.middleware.gzip.GZipMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ]
            },
        }
    ],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.path.join(FOLDER, "db.sqlite3"),
        }
    },
    FILE_UPLOAD_MAX_MEMORY_SIZE=1000,
    LOGGING_CONFIG=None,
)
django.setup()

from django.contrib import admin
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connections
from django.urls import path

call_command("migrate", verbosity=0)
User.objects.create_superuser("admin", "admin@example.com", "password")
connections.close_all()


def plain(request):
    return HttpResponse("plain", content_type="text/plain", headers={"X-A": "1"})


def query(request):
    return JsonResponse({"path": request.path, "query": request.GET.dict()})


def token(request):
    return HttpResponse(get_token(request))


def form(request):
    return JsonResponse(request.POST.dict())


def upload(request):
    file = request.FILES["file"]
    size = sum(len(each) for each in file.chunks())
    return JsonResponse({"name": file.name, "size": size, "kind": type(file).__name__})


form.csrf_exempt = upload.csrf_exempt = True


def streamed(request):
    return StreamingHttpResponse(f"{number}\n" for number in range(20))


async def async_streamed(request):
    async def parts():
        for number in range(20):
            yield f"{number}\n"
            await asyncio.sleep(0)

    return StreamingHttpResponse(parts())


async def async_plain(request):
    await asyncio.sleep(0)
    return HttpResponse("async")


def file(request):
    return FileResponse(open(__file__, "rb"), filename="app.py")


def boom(request):
    raise ValueError("a fault of the app")


urlpatterns = [
    path("", plain),
    path("admin/", admin.site.urls),
    path("query/<int:number>", lambda request, number: query(request)),
    path("token", token),
    path("form", form),
    path("upload", upload),
    path("stream", streamed),
    path("async-stream", async_streamed),
    path("async", async_plain),
    path("file", file),
    path("boom", boom),
    path("redirect", lambda request: HttpResponseRedirect("/")),
]
app = ASGIHandler()
wsgi = WSGIHandler()
