# Measured: python3 sqlite3
import asyncio, concurrent.futures, ctypes, ctypes.util, glob, gzip, hashlib, json, locale, logging
import lzma, mmap, os, pathlib, platform, random, shutil, socket, sqlite3, ssl, subprocess, sys
import tempfile, threading, time, urllib.request, uuid, zipfile

locale.setlocale(locale.LC_ALL, "")
with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder, "file")
    path.write_text("text")
    path.chmod(0o600)
    os.utime(path, (0, 0))
    shutil.copytree(folder, folder + ".copy")
    shutil.rmtree(folder + ".copy")
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[0:1] = b"T"
    assert path.read_text() == "Text" and glob.glob(folder + "/*") == [str(path)]

base = sqlite3.connect("base.sqlite")
base.execute("pragma journal_mode = wal")
base.execute("create table t (n integer)")
with base:
    base.executemany("insert into t values (?)", [(n,) for n in range(100)])
other = sqlite3.connect("base.sqlite")
assert other.execute("select sum(n) from t").fetchone()[0] == 4950
other.execute("vacuum")
other.close()
base.close()
os.rename("base.sqlite", "moved.sqlite")

with concurrent.futures.ThreadPoolExecutor(4) as pool:
    assert sum(pool.map(lambda n: n * n, range(10))) == 285
out = subprocess.run("echo child; id -u", shell=True, capture_output=True, text=True).stdout
assert out.startswith("child\n")
assert subprocess.run([sys.executable, "-c", "print(1)"], capture_output=True).stdout == b"1\n"


async def coroutines():
    process = await asyncio.create_subprocess_exec("true")
    await asyncio.gather(process.wait(), asyncio.sleep(0.01))


asyncio.run(coroutines())
left, right = socket.socketpair()
left.send(b"x")
assert right.recv(1) == b"x"
socket.getaddrinfo("localhost", 80)
ssl.create_default_context()
# Its own functions, and those of the C library, called through a closure made at run time.
library = ctypes.CDLL(ctypes.util.find_library("c"))
compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))
numbers = (ctypes.c_int * 3)(3, 1, 2)
library.qsort(numbers, 3, 4, compare(lambda a, b: a[0] - b[0]))
assert list(numbers) == [1, 2, 3]
platform.platform(), os.cpu_count(), uuid.uuid4(), random.SystemRandom().random()
hashlib.sha256(b"x").hexdigest(), json.dumps({}), time.localtime(), lzma.compress(b"x")
