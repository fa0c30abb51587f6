// A few threads that sleep until there is a whole inference to do, and wait for one another between its operations.
#pragma once
#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace lehr {

// All workers meet here; one looks for a moment (an operation takes microseconds) before it goes to sleep.
class Barrier {
 public:
  explicit Barrier(int64_t workers) : workers_(workers), left_(workers) {}
  void wait();

 private:
  const int64_t workers_;
  std::atomic<int64_t> left_;
  std::atomic<uint32_t> turn_{0};
};

class Threads {
 public:
  ~Threads();
  // work(worker, workers, barrier) on `workers` threads, the caller being the first; alone where others have the threads now.
  void run(int64_t workers, const std::function<void(int64_t, int64_t, Barrier&)>& work);

 private:
  void serve(int64_t worker, uint64_t seen);
  std::mutex one_;  // inference at a time has the threads
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  std::vector<std::thread> threads_;
  const std::function<void(int64_t, int64_t, Barrier&)>* work_ = nullptr;
  Barrier* barrier_ = nullptr;
  int64_t workers_ = 0, running_ = 0;
  uint64_t round_ = 0;
  bool stop_ = false;
};

// The threads of this process; made anew in a child after fork.
Threads& threads();

}  // namespace lehr
