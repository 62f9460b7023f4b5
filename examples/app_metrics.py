"""Metrics of the app itself, added up over all workers.

blazeio-supervisor app_metrics:web --app-dir examples --workers 4 \
    --metrics-bind 127.0.0.1:9100
curl -d '{"kind": "book", "price": 12.5}' http://127.0.0.1:8000/orders
curl http://127.0.0.1:9100/metrics
"""

import time

import blazeio as io

web = io.App("127.0.0.1", 8000)
KINDS = ("book", "pen")

orders = web.metrics.counter("shop_orders_total", "Orders.", labels={"kind": KINDS})
prices = web.metrics.histogram("shop_price", "Price of an order.", buckets=(1, 10, 100))
started = web.metrics.gauge("shop_started_seconds", "Newest start.", combine="max")


@web.on_start
def note_start():
    started.set(time.time())


@web.route.post("/orders")
async def order(r):
    wanted = await io.Request.get_json(r)
    kind = wanted.get("kind")
    if kind not in KINDS:
        raise io.Abort(f"expected one of {KINDS}", 422)
    orders.labels(kind).inc()
    prices.observe(wanted["price"])
    await io.Deliver.json(r, {"ordered": kind})


@web.route.get("/own-metrics")
async def own_metrics(r):
    """What this one process has counted; alone it is all there is."""
    r.reply(web.metrics.text(), headers={"Content-Type": "text/plain; version=0.0.4"})


if __name__ == "__main__":
    web.runner()
