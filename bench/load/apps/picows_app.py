"""picows as its own page shows an echo server: a callback on uvloop, no routes, no framework."""

import uvloop
from picows import WSListener, WSMsgType, WSUpgradeResponse, WSUpgradeResponseWithListener, ws_create_server
from shared_routes import PORT, TEXT


class Echo(WSListener):
    def on_ws_frame(self, transport, frame):
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
        else:
            transport.send(frame.msg_type, frame.get_payload_as_bytes())


def choose_listener(request):
    if request.path == b"/":  # what the comparison asks to see whether it is up
        return WSUpgradeResponseWithListener(WSUpgradeResponse.create_ok_response(TEXT.encode()), None)
    return Echo()


async def main():
    server = await ws_create_server(choose_listener, "127.0.0.1", PORT)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
