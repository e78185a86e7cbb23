"""A web server where somebody expects gRPC: it answers everything with 400."""

from __future__ import annotations

import http.server
import threading
from contextlib import contextmanager


@contextmanager
def web_server(tls=None):
    """The address of a running one; `tls` is a context to wrap it in."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Web) as web:
        if tls:
            web.socket = tls.wrap_socket(web.socket, server_side=True)
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        try:
            yield f"localhost:{web.server_port}"
        finally:
            web.shutdown()
            thread.join()


class _Web(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def parse_request(self):
        self.requestline, self.request_version, self.command = "", "HTTP/1.1", "PRI"
        self.close_connection = True
        self.send_error(400)
        return False

    def log_message(self, *args):
        pass
