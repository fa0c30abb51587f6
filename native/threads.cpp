#include "threads.h"

#include <pthread.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace lehr {

constexpr int LOOKS = 20000;  // a few hundred microseconds

void Tasks::wait(State& state) const {
  for (int look = 0; look < LOOKS; look++) {
    if (state.done.load(std::memory_order_acquire) >= chunks_) return;
#if defined(__x86_64__)
    _mm_pause();
#else
    std::this_thread::yield();
#endif
  }
  for (int32_t done; (done = state.done.load(std::memory_order_acquire)) < chunks_;) state.done.wait(done, std::memory_order_acquire);
}

void Threads::run(int64_t helpers, const std::function<void()>& work) {
  if (helpers < 1) return work();  // before the lock, which a thread at work for others may have already
  std::unique_lock<std::mutex> mine(one_, std::try_to_lock);
  if (!mine.owns_lock()) return work();
  {
    std::lock_guard<std::mutex> lock(mutex_);
    while (int64_t(threads_.size()) < helpers) threads_.emplace_back(&Threads::serve, this);
    work_ = &work;
    wanted_ = helpers;
  }
  wake_.notify_all();
  work();
  std::unique_lock<std::mutex> lock(mutex_);
  work_ = nullptr;
  wanted_ = 0;
  left_.wait(lock, [this] { return inside_ == 0; });
}

void Threads::serve() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return stop_ || wanted_ > 0; });
    if (stop_) return;
    wanted_--;
    inside_++;
    const auto* work = work_;
    lock.unlock();
    (*work)();
    lock.lock();
    if (--inside_ == 0) left_.notify_one();
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
