# Measured: venv pip
# A wheel is a zip file with a list of what is in it.
python3 - <<'END'
import base64, hashlib, zipfile
info = "hello-1.0.dist-info/"
files = {
    "hello/__init__.py": "def main():\n    print('hello from a wheel')\n",
    info + "METADATA": "Metadata-Version: 2.1\nName: hello\nVersion: 1.0\n",
    info + "WHEEL": "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    info + "entry_points.txt": "[console_scripts]\nhello = hello:main\n",
}
def line(name, text):
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
    return f"{name},sha256={digest.decode()},{len(text)}\n"
record = "".join(line(*each) for each in files.items()) + f"{info}RECORD,,\n"
with zipfile.ZipFile("hello-1.0-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as wheel:
    for name, text in files.items():
        wheel.writestr(name, text)
    wheel.writestr(info + "RECORD", record)
END
python3 -m venv here
here/bin/pip install -q --no-index --disable-pip-version-check hello-1.0-py3-none-any.whl
test "$(here/bin/hello)" = 'hello from a wheel'
here/bin/python -c 'import hello, sys; assert sys.prefix != sys.base_prefix'
here/bin/pip uninstall -q -y hello
! here/bin/python -c 'import hello' 2> /dev/null
