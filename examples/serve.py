"""Serves an exported model over HTTP, with the standard library only.

Requests that come at about the same time are one batch: the first one waits a few milliseconds for
others. The batch is padded to a power of two, so that only a few programs are compiled.

    python examples/serve.py model.zip --port=8000
    curl -d '{"input": [0.1, 0.2, 0.3]}' localhost:8000

The model is one that `ps.export` wrote, with one input `dtype[b, ...]`. Without a file, this serves
a small network with three inputs.
"""

import argparse
import json
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jax
import numpy as np

import purestate as ps


class Batcher:
    """Calls a function of a batch for examples that come from many threads.

    Attributes:
      sizes: the number of examples in each batch so far.
    """

    def __init__(self, apply: Callable[[np.ndarray], Any], max_batch: int, wait_ms: float):
        self.sizes: list[int] = []
        self._apply = apply
        self._max_batch = max_batch
        self._wait = wait_ms / 1000
        self._waiting: queue.Queue[tuple[np.ndarray, Future[np.ndarray]] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __call__(self, example: np.ndarray) -> np.ndarray:
        """Returns the output for one example; blocks until its batch is done."""
        future: Future[np.ndarray] = Future()
        self._waiting.put((example, future))
        return future.result()

    def close(self) -> None:
        """Ends the thread after the batches that wait."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while True:
            batch, is_last = self._collect()
            if batch:
                self.sizes.append(len(batch))
                futures = [future for _, future in batch]
                try:
                    examples = padded([example for example, _ in batch], self._max_batch)
                    outputs = np.asarray(self._apply(examples))
                except Exception as error:  # the thread must live on
                    for future in futures:
                        future.set_exception(error)
                else:
                    for future, output in zip(futures, outputs, strict=False):
                        future.set_result(output)
            if is_last:
                return

    def _collect(self) -> tuple[list[tuple[np.ndarray, Future[np.ndarray]]], bool]:
        """Waits for a first example, and then a while for others."""
        first = self._waiting.get()
        if first is None:
            return [], True
        batch, deadline = [first], time.monotonic() + self._wait
        while len(batch) < self._max_batch:
            try:
                item = self._waiting.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                break
            if item is None:
                return batch, True
            batch.append(item)
        return batch, False


def batch_sizes(max_batch: int) -> list[int]:
    """Returns the sizes that batches are padded to: the powers of two, and the largest one."""
    return [2**i for i in range((max_batch - 1).bit_length())] + [max_batch]


def padded(examples: list[np.ndarray], max_batch: int) -> np.ndarray:
    """Returns the examples as a batch of one of the sizes, padded with the first one."""
    size = next(size for size in batch_sizes(max_batch) if size >= len(examples))
    return np.stack(examples + [examples[0]] * (size - len(examples)))


class Server(ThreadingHTTPServer):
    """Answers `POST {"input": [...]}` with `{"output": [...]}`, and `GET` with what it serves."""

    request_queue_size = 256

    def __init__(self, model: ps.ExportedModel, port: int, max_batch: int, wait_ms: float):
        aval = model.exported.in_avals[-1]
        self.shape, self.dtype = aval.shape[1:], aval.dtype
        self.about = repr(model)

        def apply(batch: np.ndarray) -> Any:
            return model(batch) if model.state is None else model(batch)[0]

        for size in batch_sizes(max_batch):  # compiles, so that no request has to wait for it
            apply(np.zeros((size, *self.shape), self.dtype))
        self.batcher = Batcher(apply, max_batch, wait_ms)
        super().__init__(("127.0.0.1", port), Handler)

    def server_close(self) -> None:
        """Stops to listen, and answers what waits."""
        super().server_close()
        self.batcher.close()


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        self._answer(200, {"model": self.server.about, "batches": len(self.server.batcher.sizes)})

    def do_POST(self) -> None:
        try:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            example = np.asarray(body["input"])
            if not np.can_cast(example.dtype, self.server.dtype, "same_kind"):
                raise TypeError(example.dtype)  # texts, or fractions where integers are needed
            example = example.astype(self.server.dtype)
        except (ValueError, TypeError, KeyError):
            self._answer(400, {"error": 'send {"input": [...]}, with numbers in the list'})
            return
        if example.shape != self.server.shape:
            shapes = f"must have shape {self.server.shape}, but has {example.shape}"
            self._answer(400, {"error": f"the input {shapes}"})
            return
        try:
            self._answer(200, {"output": self.server.batcher(example).tolist()})
        except Exception as error:
            self._answer(500, {"error": str(error)})

    def _answer(self, status: int, answer: dict[str, Any]) -> None:
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (its name)
        pass


def small_model() -> ps.ExportedModel:
    """Returns a network that has not learned anything."""
    f = ps.transform(lambda x: ps.nets.MLP([16, 2])(x))
    params = f.init(jax.random.key(0), np.zeros([1, 3], np.float32))
    return ps.export(f, params, None, "float32[b, 3]")


def main() -> None:
    parser = argparse.ArgumentParser(description="Serves an exported model.")
    parser.add_argument("path", nargs="?", help="a file that ps.export wrote")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--max_batch", type=int, default=32)
    parser.add_argument("--wait_ms", type=float, default=5)
    args = parser.parse_args()
    model = ps.load_exported(args.path) if args.path else small_model()
    with Server(model, args.port, args.max_batch, args.wait_ms) as server:
        print(f"{model} on http://127.0.0.1:{server.server_port}", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("Stopped.")


if __name__ == "__main__":
    main()
