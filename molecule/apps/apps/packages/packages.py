"""Packages with compiled parts, each used for what it is there for: `/<name>` imports one and works with it.

Nothing is imported before it is asked for, so that a package which the sandbox stops fails that request alone.
"""

import io
import json
import multiprocessing
import subprocess
import sys
import tempfile
from concurrent import futures

import flask


def use_numpy():
    import numpy

    return (numpy.arange(250_000.0).reshape(500, 500) @ numpy.eye(500)).sum().item()


def use_pandas():
    import pandas

    return int(pandas.DataFrame({"kind": ["a", "b", "a"], "count": [1, 2, 3]}).groupby("kind")["count"].sum()["a"])


def use_matplotlib():
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    image = io.BytesIO()
    pyplot.plot([1, 4, 2])
    pyplot.savefig(image, format="png")
    return image.getvalue()[:4].decode("latin-1")


def use_pillow():
    from PIL import Image

    image = io.BytesIO()
    Image.new("RGB", (64, 48), "red").resize((32, 24)).save(image, "JPEG")
    return list(Image.open(image).size)


def use_lxml():
    from lxml import etree

    return etree.fromstring("<a><b>1</b></a>").xpath("string(//b)")


def use_cryptography():
    from cryptography.fernet import Fernet

    cipher = Fernet(Fernet.generate_key())
    return cipher.decrypt(cipher.encrypt(b"secret")).decode()


def use_psycopg():
    import psycopg

    try:
        psycopg.connect("host=127.0.0.1 port=1 connect_timeout=2")
    except psycopg.OperationalError as error:
        return f"{psycopg.pq.__impl__}: {'refused' in str(error)}"
    return "connected"


def use_pyarrow():
    import pyarrow
    from pyarrow import compute, parquet

    file = io.BytesIO()
    parquet.write_table(pyarrow.table({"n": [1, 2, 3]}), file)
    return compute.sum(parquet.read_table(file)["n"]).as_py()


def use_grpcio():
    import grpc

    backwards = grpc.unary_unary_rpc_method_handler(lambda asked, _context: asked[::-1])
    server = grpc.server(futures.ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("echo", {"Back": backwards})])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            return channel.unary_unary("/echo/Back")(b"abc", timeout=10).decode()
    finally:
        server.stop(None)


def use_gevent():
    import gevent

    return [task.value for task in gevent.joinall([gevent.spawn(pow, 2, 10)], timeout=5)]


def square(number):
    return number * number


def use_multiprocessing(method):
    """In a process without threads, such as a worker's command is: a fork beside threads may wait for ever anywhere."""
    code = f"import json, packages; print(json.dumps(packages.squares({method!r})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def squares(method):
    with multiprocessing.get_context(method).Pool(2) as pool:
        return pool.map(square, [1, 2, 3])


def use_readline():
    import readline

    with tempfile.NamedTemporaryFile() as history:
        readline.add_history("help")
        readline.write_history_file(history.name)
        return readline.get_history_item(1)


def use_numba():
    """It compiles to machine code while it runs."""
    import numba

    @numba.njit
    def total(limit):
        found = 0
        for number in range(limit):
            found += number
        return found

    return total(1000)


def use_cffi():
    """A callback is machine code that it writes while it runs."""
    import cffi

    ffi = cffi.FFI()
    return ffi.callback("int(int)", square)(7)


def use_crash():
    """As a package with a fault in its compiled part does it."""
    import ctypes

    return ctypes.string_at(0)


USES = {
    "cffi": use_cffi,
    "crash": use_crash,
    "cryptography": use_cryptography,
    "fork": lambda: use_multiprocessing("fork"),
    "forkserver": lambda: use_multiprocessing("forkserver"),
    "gevent": use_gevent,
    "grpcio": use_grpcio,
    "lxml": use_lxml,
    "matplotlib": use_matplotlib,
    "numba": use_numba,
    "numpy": use_numpy,
    "pandas": use_pandas,
    "pillow": use_pillow,
    "psycopg": use_psycopg,
    "pyarrow": use_pyarrow,
    "readline": use_readline,
    "spawn": lambda: use_multiprocessing("spawn"),
}


def create_app(title, *, first=None):
    """The application.

    Args:
        title: What it answers at /.
        first: What to use before the first request.
    """
    app = flask.Flask(__name__)

    @app.get("/")
    def index():
        return title

    @app.get("/<name>")
    def use(name):
        if name not in USES:
            flask.abort(404)
        return {"result": USES[name]()}

    if first:
        USES[first]()
    return app
