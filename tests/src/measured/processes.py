import concurrent.futures, multiprocessing


def square(n):
    return n * n


if __name__ == "__main__":
    with concurrent.futures.ProcessPoolExecutor(2) as pool:
        assert sum(pool.map(square, range(10))) == 285
    lock, queue = multiprocessing.Lock(), multiprocessing.Queue()
    process = multiprocessing.Process(target=queue.put, args=("x",))
    with lock:
        process.start()
    assert queue.get() == "x"
    process.join()
