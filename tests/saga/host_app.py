"""An application with a saga, for servers of several processes and for the command `cello sagas`."""

import os

from cello import App, SagaConfig
from cello.saga import Saga, SagaStep, WaitForEvent

app = App()
app.enable_saga(SagaConfig(store=os.environ["SAGA_STORE"], poll_interval_ms=50, retry_delay_ms=1, max_retries=0))


async def reserve(context):
    context["reserved"] = True


async def ship(context):
    context["tries"] = context.get("tries", 0) + 1
    if not context["paid"]:
        raise ValueError("not paid")


class Order(Saga):
    steps = (SagaStep("reserve", reserve, lambda context: None), WaitForEvent("paid"), SagaStep("ship", ship))


app.sagas.register(Order)


@app.post("/orders")
async def order(request):
    return {"id": (await app.sagas.execute("Order", {"number": 1})).id, "pid": os.getpid()}


@app.get("/orders/{id}")
def status(id: str):
    found = app.sagas.get_execution(id)
    return (found.get_status(), 200) if found else ({"error": "nobody"}, 404)
