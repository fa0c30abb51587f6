// A few threads that sleep until there is an inference to help with.
#pragma once
#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace lehr {

// A list of tasks, each cut into chunks; a task begins when all chunks of the one before have ended. Whoever is awake takes the
// next chunk, so that nobody waits for a thread that is still asleep.
class Tasks {
 public:
  Tasks(int64_t count, int64_t chunks) : count_(count), chunks_(chunks), states_(count) {}

  // Take chunks until all tasks are done: work(task, chunk, chunks). Called by every thread that helps.
  template <class Work>
  void help(const Work& work) {
    for (int64_t task = 0; task < count_; task++) {
      State& state = states_[task];
      for (int64_t chunk; (chunk = state.next.fetch_add(1, std::memory_order_relaxed)) < chunks_;) {
        work(task, chunk, chunks_);
        if (state.done.fetch_add(1, std::memory_order_acq_rel) + 1 == chunks_) state.done.notify_all();
      }
      wait(state);
    }
  }

 private:
  struct alignas(64) State {
    std::atomic<int64_t> next{0};
    std::atomic<int32_t> done{0};
  };
  // Looks for a moment, as chunks take microseconds, then sleeps.
  void wait(State& state) const;

  const int64_t count_, chunks_;
  std::vector<State> states_;
};

class Threads {
 public:
  ~Threads();
  // Call `work` here and on as many as `helpers` other threads while it runs here; they may come late or, where others have
  // the threads now, not at all.
  void run(int64_t helpers, const std::function<void()>& work);

 private:
  void serve();
  std::mutex one_;  // inference at a time has the threads
  std::mutex mutex_;
  std::condition_variable wake_, left_;
  std::vector<std::thread> threads_;
  const std::function<void()>* work_ = nullptr;
  int64_t wanted_ = 0, inside_ = 0;
  bool stop_ = false;
};

// The threads of this process; made anew in a child after fork.
Threads& threads();

}  // namespace lehr
