"""An application whose servicers are generated code, which imports grpc before the workers are forked.

The generated modules are found in the folder that GRPC_PROTOS names.
"""

import asyncio
import os
import sys

sys.path.insert(0, os.environ["GRPC_PROTOS"])

import grpc
from shop import v1_pb2 as messages
from shop import v1_pb2_grpc as services

from cello import App, GrpcConfig

app = App()
app.enable_grpc(GrpcConfig(address=f"127.0.0.1:{os.environ.get('GRPC_PORT', '0')}", enable_web=True))


class Shop(services.ShopServicer):
    async def Get(self, request, context):
        if request.id == 404:
            await context.abort(grpc.StatusCode.NOT_FOUND, "there is no such user")
        if request.id == 405:
            context.set_code(grpc.StatusCode.OUT_OF_RANGE)
            context.set_details("too far")
            return messages.User()
        await context.send_initial_metadata([("x-early", "yes")])
        context.set_trailing_metadata([("x-pid", str(os.getpid()))])
        return messages.User(id=request.id, name=dict(context.invocation_metadata()).get("x-name", ""))

    def Plain(self, request, context):
        if request.id == 404:
            context.abort(grpc.StatusCode.NOT_FOUND, "there is no such user")
        return messages.User(id=request.id, name=context.peer().partition(":")[0])

    def Countdown(self, request, context):
        for number in range(request.id, 0, -1):
            yield messages.User(id=number)

    async def Echo(self, request_iterator, context):
        async for each in request_iterator:
            yield messages.User(id=each.id)

    async def EchoPlainly(self, request_iterator, context):
        while (each := await context.read()) is not grpc.aio.EOF:
            await context.write(messages.User(id=each.id))
            if each.id == 404:
                await context.abort(grpc.StatusCode.NOT_FOUND, "there is no such user")

    def Sum(self, request_iterator, context):
        return messages.User(id=sum(each.id for each in request_iterator))

    async def Sleep(self, request, context):
        await asyncio.sleep(request.id)
        return messages.User(id=os.getpid())


app.add_grpc_service("shop.v1.Shop", Shop())


@app.get("/")
def index():
    return "here"
