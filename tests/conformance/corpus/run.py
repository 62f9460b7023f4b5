#!/usr/bin/env python3
"""run.py HOST PORT [--json] [--static PATH] [--ws PATH] [--no-echo] [--only RE] [--jobs N] [-v]
Sends every case of cases.json over a raw socket to a live server and classifies what came back.
Standard library only. Last line: 'N ok, M wrong' (MUST-level misses), with warnings (SHOULD/robustness misses) in brackets.
Exit status: 0 nothing wrong, 1 something wrong, 2 server not reachable or dead afterwards."""
import argparse, json, os, re, select, socket, sys, time
from concurrent.futures import ThreadPoolExecutor

HERE = os.path.dirname(os.path.abspath(__file__))


class Resp:
    __slots__ = ("status", "version", "headers", "body", "complete", "framing")

    def get(self, name):
        v = [b for a, b in self.headers if a == name]
        return ", ".join(v) if v else None


def parse(buf, methods, closed):
    """buf -> (responses incl. interim, tail bytes, garbage flag)"""
    out, pos, finals = [], 0, 0
    while pos < len(buf):
        end = buf.find(b"\r\n\r\n", pos)
        if not buf[pos:pos + 5] in (b"HTTP/"[:len(buf[pos:pos + 5])],):
            return out, buf[pos:], True
        if end < 0:
            return out, buf[pos:], closed
        head = buf[pos:end].decode("latin-1").split("\r\n")
        m = re.match(r"^(HTTP/\d\.\d) (\d{3})(?: |$)", head[0])
        if not m:
            return out, buf[pos:], True
        r = Resp()
        r.version, r.status = m.group(1), int(m.group(2))
        r.headers = []
        for line in head[1:]:
            k, sep, v = line.partition(":")
            if not sep:
                return out, buf[pos:], True
            r.headers.append((k.strip().lower(), v.strip()))
        pos = end + 4
        r.body, r.complete, r.framing = b"", True, "none"
        out.append(r)
        if r.status == 101:
            return out, buf[pos:], False
        if 100 <= r.status < 200:
            continue
        method = methods[finals] if finals < len(methods) else "GET"
        finals += 1
        te, cl = r.get("transfer-encoding"), r.get("content-length")
        r.framing = "both" if te and cl else "one" if (te or cl) else "none"
        if method == "HEAD" or r.status in (204, 304):
            continue
        if te and "chunked" in te.lower():
            r.complete = False
            while True:
                e = buf.find(b"\r\n", pos)
                if e < 0:
                    return out, buf[pos:], False
                try:
                    n = int(buf[pos:e].split(b";")[0], 16)
                except ValueError:
                    return out, buf[pos:], True
                if n == 0:
                    e2 = buf.find(b"\r\n", e + 2)
                    while e2 > e + 2:
                        e, e2 = e2, buf.find(b"\r\n", e2 + 2)
                    if e2 < 0:
                        return out, buf[pos:], False
                    pos = e2 + 2
                    r.complete = True
                    break
                if len(buf) < e + 2 + n + 2:
                    r.body += buf[e + 2:e + 2 + n]
                    return out, b"", False
                r.body += buf[e + 2:e + 2 + n]
                pos = e + 2 + n + 2
        elif cl is not None and cl.isdigit():
            n = int(cl)
            r.body = buf[pos:pos + n]
            r.complete = len(r.body) == n
            pos += n
        else:
            r.body = buf[pos:]
            r.complete = closed
            pos = len(buf)
    return out, b"", False


class Conn:
    def __init__(self, host, port, methods):
        self.s = socket.create_connection((host, port), 5)
        self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.s.setblocking(False)
        self.buf, self.closed, self.reset, self.wfail = b"", False, False, False
        self.methods = methods

    def _read(self):
        try:
            d = self.s.recv(1 << 18)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.closed = self.reset = True
            return
        if not d:
            self.closed = True
        self.buf += d

    def send(self, data, limit=8.0):
        end, off = time.monotonic() + limit, 0
        mv = memoryview(data)
        while off < len(mv) and not self.wfail and time.monotonic() < end:
            rl = [] if self.closed else [self.s]
            r, w, _ = select.select(rl, [self.s], [], 0.25)
            if r:
                self._read()
            if w:
                try:
                    off += self.s.send(mv[off:off + 65536])
                except (BlockingIOError, InterruptedError):
                    pass
                except OSError:
                    self.wfail = True
            elif self.closed:
                self.wfail = True
        return off == len(mv)

    def wait(self, seconds, until=None):
        end = time.monotonic() + seconds
        while not self.closed:
            if until and until():
                return True
            left = end - time.monotonic()
            if left <= 0:
                return False
            r, _, _ = select.select([self.s], [], [], min(left, 0.25))
            if r:
                self._read()
        return bool(until and until())

    def parsed(self):
        return parse(self.buf, self.methods, self.closed)

    def finals(self):
        return [r for r in self.parsed()[0] if (r.status >= 200 or r.status == 101) and r.complete]


class Skip(Exception):
    pass


def fill(text, ctx, conn=None):
    for k in ("HOST", "STATICDIR", "STATIC", "WS"):
        text = text.replace("{%s}" % k, ctx.get(k) or "")
    for kind, i in set(re.findall(r"\{(LEN|HEX):(\d+)\}", text)):
        n = ctx["len"][int(i)]
        text = text.replace("{%s:%s}" % (kind, i), str(n) if kind == "LEN" else "%x" % n)
    for name in set(re.findall(r"\{HDR:([a-z_-]+)\}", text)):
        fs = conn.finals() if conn else []
        v = fs[0].get(name.replace("_opaque", "")) if fs else None
        if v is None:
            raise Skip("no " + name)
        if name.endswith("_opaque") and v.startswith("W/"):
            v = v[2:]
        text = text.replace("{HDR:%s}" % name, v)
    return text


def run_case(c, a, base):
    ctx = dict(base)
    ctx["len"] = {p["id"]: len(fill(p["text"], base | {"len": {}}).encode("latin-1")) for p in c["send"] if isinstance(p, dict) and "id" in p}
    t0 = time.monotonic()
    conn = Conn(a.host, a.port, c.get("methods", []))
    awaited, big = 0, 0
    skip = None
    try:
        for p in c["send"]:
            if conn.wfail:
                break
            if isinstance(p, str):
                d = fill(p, ctx, conn).encode("latin-1"); big += len(d); conn.send(d)
            elif "rep" in p:
                d = fill(p["rep"], ctx).encode("latin-1") * p["n"]; big += len(d); conn.send(d)
            elif "id" in p:
                conn.send(fill(p["text"], ctx).encode("latin-1"))
            elif "bytewise" in p:
                for b in fill(p["bytewise"], ctx).encode("latin-1"):
                    conn.send(bytes([b])); time.sleep(0.0005)
            elif "pause" in p:
                conn.wait(p["pause"])
            elif "await" in p:
                awaited += 1
                k = awaited
                conn.wait(3.0, lambda: len(conn.finals()) >= k)
            elif "await_any" in p:
                conn.wait(2.0, lambda: b"\r\n\r\n" in conn.buf)
            elif "half_close" in p:
                try:
                    conn.s.shutdown(socket.SHUT_WR)
                except OSError:
                    pass
    except Skip as e:
        skip = str(e)
    outs = c["expect"]
    if skip is None:
        want = max([x.get("n", 0) for x in outs if x["out"] == "answer"] or [0]) or 1
        patient = 8.0 if big > 60000 or want > 50 else (1.3 if any(x["out"] in ("wait", "no2xx") for x in outs) else 3.0)
        def enough():
            fs = conn.finals()
            return len(fs) >= want or (fs and fs[-1].status >= 400) or (fs and fs[0].status == 101) or conn.parsed()[2]
        conn.wait(patient * a.slow, enough)
        fs = conn.finals()
        only_close = all((x["out"] == "reject" and x.get("close")) or x.get("conn") == "close" for x in outs)
        conn.wait((1.5 if only_close or (fs and fs[-1].status >= 400) else 0.35) * a.slow, lambda: conn.closed)
        if any(x.get("tail") or x.get("closed") for x in outs):
            conn.wait(0.7)
    resps, tail, garbage = conn.parsed()
    closed = conn.closed
    try:
        conn.s.close()
    except OSError:
        pass
    finals = [r for r in resps if r.status >= 200 or r.status == 101]
    interim = [r.status for r in resps if 100 < r.status + 1 <= 200 and r.status != 101]
    label = "+".join(map(str, interim)) + ("+" if interim else "") + ",".join(str(r.status) for r in finals[:6]) + (",…" if len(finals) > 6 else "")
    if garbage and not (finals and finals[0].status == 101): label += "?garbage"
    if finals and not finals[-1].complete: label += "(cut)"
    label = (label + " " if label else "") + ("close" if closed else ("open" if label else "wait"))
    if skip:
        return {"id": c["id"], "verdict": "skip", "got": skip, "ms": 0}
    good = any(match(x, finals, interim, tail, garbage, closed, len(conn.buf)) for x in outs)
    verdict = "ok" if good else ("wrong" if c["level"] == "must" else "warn")
    return {"id": c["id"], "group": c["group"], "level": c["level"], "verdict": verdict, "got": label, "ms": round((time.monotonic() - t0) * 1000),
            "first": (finals[0].body[:60].decode("latin-1") if finals else tail[:60].decode("latin-1"))}


def hdrs_ok(want, r):
    for k, rx in want.items():
        v = r.get(k)
        if rx is None:
            if v is not None:
                return False
        elif v is None or not re.search(rx, v):
            return False
    return True


def match(x, finals, interim, tail, garbage, closed, total):
    o = x["out"]
    st = [r.status for r in finals]
    if o == "wait":
        return not finals and not closed and not garbage
    if o == "raw":
        return garbage
    if o == "is101":
        return bool(st) and st[0] == 101 and hdrs_ok(x.get("hdr", {}), finals[0]) and (x.get("tail") is None or tail.startswith(x["tail"].encode("latin-1"))) and (not x.get("closed") or closed) and (x.get("tail_not") is None or x["tail_not"].encode("latin-1") not in tail)
    if garbage:
        return False
    if o == "not101":
        return 101 not in st and not any(s >= 500 and s not in (501, 505) for s in st) and (bool(st) or closed)
    if o == "no2xx":
        return not any(200 <= s < 300 for s in st) and not (x.get("no5xx") and any(s >= 500 for s in st))
    if o == "reject":
        if not st:
            return x["silent"] and closed
        if st[0] not in x["codes"] or any(200 <= s < 300 for s in st) or not finals[0].complete:
            return False
        if x["close"] and not closed:
            return False
        if x.get("framing") == "one" and finals[0].framing != "one":
            return False
        return hdrs_ok(x.get("hdr", {}), finals[0])
    if o == "first":
        if not st or st[0] not in x["status"] or not finals[0].complete:
            return False
        if x.get("body") is not None and finals[0].body != x["body"].encode("latin-1"):
            return False
        if x.get("n") and len(st) != x["n"]:
            return False
        if x.get("conn") == "close" and not closed:
            return False
        return not (x.get("later_not_2xx") and any(200 <= s < 300 for s in st[1:]))
    if o == "answer":
        if len(st) != x["n"] or not all(r.complete for r in finals):
            return False
        if "status_seq" in x:
            if st != x["status_seq"]:
                return False
        elif not all(s in x["status"] for s in st):
            return False
        if "bodies" in x and any(b is not None and r.body != b.encode("latin-1") for b, r in zip(x["bodies"], finals)):
            return False
        if "body_len" in x and len(finals[0].body) != x["body_len"]:
            return False
        if (x["conn"] == "close" and not closed) or (x["conn"] == "open" and closed):
            return False
        if not hdrs_ok(x.get("hdr", {}), finals[0]):
            return False
        if "hdr_at" in x and not hdrs_ok(x["hdr_at"][1], finals[x["hdr_at"][0]]):
            return False
        if "hdr_any" in x and not any(finals[0].get(h) for h in x["hdr_any"]):
            return False
        if x.get("framing") == "one" and finals[0].framing != "one":
            return False
        if "version" in x and finals[0].version != x["version"]:
            return False
        if "interim" in x and x["interim"] not in interim:
            return False
        if x.get("no_interim") and interim:
            return False
        return not ("max_total" in x and total > x["max_total"])
    raise ValueError(o)


def alive(a, base):
    try:
        c = Conn(a.host, a.port, [])
        c.send(fill("GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n", base | {"len": {}}).encode())
        c.wait(3.0, lambda: bool(c.finals()))
        f = c.finals()
        c.s.close()
        return bool(f) and f[0].status == 200
    except OSError:
        return False


def main():
    p = argparse.ArgumentParser()
    p.add_argument("host"); p.add_argument("port", type=int)
    p.add_argument("--json", action="store_true"); p.add_argument("--static"); p.add_argument("--ws")
    p.add_argument("--no-echo", action="store_true"); p.add_argument("--only"); p.add_argument("--jobs", type=int, default=6)
    p.add_argument("--slow", type=float, default=1.0, help="multiply all waits"); p.add_argument("-v", "--verbose", action="store_true")
    p.add_argument("--corpus", default=os.path.join(HERE, "cases.json"))
    a = p.parse_args()
    base = {"HOST": f"{a.host}:{a.port}" if ":" not in a.host else f"[{a.host}]:{a.port}", "STATIC": a.static, "STATICDIR": a.static.rsplit("/", 1)[0] + "/" if a.static else None, "WS": a.ws}
    cases = json.load(open(a.corpus))["cases"]
    have = {"echo": not a.no_echo, "static": bool(a.static), "ws": bool(a.ws)}
    todo = [c for c in cases if have.get(c.get("need"), True) and (not a.only or re.search(a.only, c["group"] + "/" + c["id"]))]
    if not alive(a, base):
        print("no 200 from GET / on %s:%d" % (a.host, a.port), file=sys.stderr)
        return 2
    def one(c):
        try:
            return run_case(c, a, base)
        except OSError as e:
            return {"id": c["id"], "group": c["group"], "level": c["level"], "verdict": "wrong", "got": "no connection: %s" % e, "ms": 0, "first": ""}
    with ThreadPoolExecutor(a.jobs) as ex:
        res = list(ex.map(one, todo))
    up = alive(a, base)
    n = {k: sum(r["verdict"] == k for r in res) for k in ("ok", "wrong", "warn", "skip")}
    if a.json:
        json.dump({"host": a.host, "port": a.port, "summary": n, "not_run": len(cases) - len(todo), "alive_after": up, "results": res}, sys.stdout, indent=1)
        print()
    else:
        title = {c["id"]: c["title"] for c in cases}
        for r in res:
            if r["verdict"] in ("wrong", "warn") or a.verbose:
                print("%-5s %-26s %-22s %s" % (r["verdict"].upper(), r["id"], r["got"], title[r["id"]]))
        print("%d ok, %d wrong (%d warnings, %d skipped, %d not run; server %s)" % (n["ok"], n["wrong"], n["warn"], n["skip"], len(cases) - len(todo), "alive" if up else "DEAD"))
    return 2 if not up else 1 if n["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
