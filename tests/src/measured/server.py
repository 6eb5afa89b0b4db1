# Serves the current folder, over HTTP and over TLS, and says so once it does.
import functools, http.server, ssl, threading

quiet = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
plain, secure = (http.server.ThreadingHTTPServer(("", port), quiet) for port in (8080, 8443))
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("certificate.pem", "key.pem")
secure.socket = context.wrap_socket(secure.socket, server_side=True)
threading.Thread(target=plain.serve_forever, daemon=True).start()
open("serving", "x").close()
secure.serve_forever()
