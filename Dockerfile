# One image for every process of compose.yaml: they differ in their command.
FROM python:3.13-slim

RUN useradd --system --create-home --home-dir /data --uid 10001 netra
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOST=0.0.0.0 PORT=8000 NETRA_DATA_DIR=/data NETRA_LOG_JSON=1
WORKDIR /netra

COPY requirements.txt requirements-deploy.txt ./
RUN pip install --no-cache-dir -r requirements-deploy.txt
COPY manage.py ./
COPY netra netra
COPY agents agents
COPY notifications notifications

USER netra
RUN SECRET_KEY=none python manage.py collectstatic --noinput --verbosity 0
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s CMD ["python", "manage.py", "ready"]
CMD ["daphne", "--verbosity", "0", "-b", "0.0.0.0", "-p", "8000", "netra.asgi:application"]
