#include "threads.h"

#include <pthread.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace lehr {

constexpr int LOOKS = 4000;  // some tens of microseconds

static inline void pause_briefly() {
#if defined(__x86_64__)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

void Barrier::wait() {
  if (workers_ == 1) return;
  const uint32_t turn = turn_.load(std::memory_order_acquire);
  if (left_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    left_.store(workers_, std::memory_order_relaxed);
    turn_.fetch_add(1, std::memory_order_acq_rel);
    turn_.notify_all();
    return;
  }
  for (int look = 0; look < LOOKS; look++) {
    if (turn_.load(std::memory_order_acquire) != turn) return;
    pause_briefly();
  }
  while (turn_.load(std::memory_order_acquire) == turn) turn_.wait(turn, std::memory_order_acquire);
}

void Threads::run(int64_t workers, const std::function<void(int64_t, int64_t, Barrier&)>& work) {
  std::unique_lock<std::mutex> mine(one_, std::try_to_lock);
  if (workers <= 1 || !mine.owns_lock()) {
    Barrier alone(1);
    work(0, 1, alone);
    return;
  }
  Barrier barrier(workers);
  {
    std::lock_guard<std::mutex> lock(mutex_);
    while (int64_t(threads_.size()) < workers - 1)
      threads_.emplace_back(&Threads::serve, this, int64_t(threads_.size()) + 1, round_);
    work_ = &work;
    barrier_ = &barrier;
    workers_ = workers;
    running_ = workers - 1;
    round_++;
  }
  wake_.notify_all();
  work(0, workers, barrier);
  std::unique_lock<std::mutex> lock(mutex_);
  done_.wait(lock, [this] { return running_ == 0; });
}

void Threads::serve(int64_t worker, uint64_t seen) {
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    wake_.wait(lock, [&] { return stop_ || round_ != seen; });
    if (stop_) return;
    seen = round_;
    if (worker >= workers_) continue;
    const auto* work = work_;
    Barrier* barrier = barrier_;
    const int64_t workers = workers_;
    lock.unlock();
    (*work)(worker, workers, *barrier);
    lock.lock();
    if (--running_ == 0) done_.notify_one();
  }
}

Threads::~Threads() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  for (auto& thread : threads_) thread.join();
}

static std::atomic<Threads*> current{nullptr};

Threads& threads() {
  // Never destroyed: at the end of a process other threads may be at work still.
  static std::once_flag once;
  std::call_once(once, [] {
    current = new Threads;
    pthread_atfork(nullptr, nullptr, [] { current = new Threads; });
  });
  return *current;
}

}  // namespace lehr
