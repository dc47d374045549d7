// A few threads that wait for short jobs: they spin for a moment, then sleep, so that the gaps inside a training step
// cost nothing and an idle or crowded machine is left alone.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif

namespace longshort {

inline void relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// A process copied by fork has none of the threads. There the caller does every worker's part itself: the same bits.
class Workers {
public:
    explicit Workers(int threads) {
        for (int i = 1; i < threads; ++i) crew_.emplace_back([this, i] { serve(i); });
    }
    ~Workers() {
        if (forked()) {
            for (std::thread& worker : crew_) worker.detach();  // nobody is there to be waited for
            return;
        }
        stopping_.store(true);
        ticket_.fetch_add(1);
        ticket_.notify_all();
        for (std::thread& worker : crew_) worker.join();
    }
    Workers(const Workers&) = delete;
    Workers& operator=(const Workers&) = delete;

    int count() const { return static_cast<int>(crew_.size()) + 1; }

    // Call job(worker) once in every worker, the caller being worker 0, and return when all are done.
    void run(const std::function<void(int)>& job) {
        if (crew_.empty() || forked()) {
            for (int i = 0; i < count(); ++i) job(i);
            return;
        }
        job_ = &job;
        pending_.store(static_cast<int>(crew_.size()), std::memory_order_relaxed);
        ticket_.fetch_add(1, std::memory_order_release);
        ticket_.notify_all();
        job(0);
        wait_while(pending_, [](int left) { return left != 0; });
    }

private:
    static constexpr int spins = 2000;  // of ten to fifty nanoseconds each

    template <class Value, class Condition>
    static Value wait_while(std::atomic<Value>& value, Condition condition) {
        for (int i = 0; i < spins; ++i) {
            const Value now = value.load(std::memory_order_acquire);
            if (!condition(now)) return now;
            relax();
        }
        for (;;) {
            const Value now = value.load(std::memory_order_acquire);
            if (!condition(now)) return now;
            value.wait(now, std::memory_order_acquire);
        }
    }

#if defined(__unix__) || defined(__APPLE__)
    bool forked() const { return getpid() != home_; }
    const pid_t home_ = getpid();
#else
    static constexpr bool forked() { return false; }
#endif

    void serve(int worker) {
        uint32_t seen = 0;
        for (;;) {
            seen = wait_while(ticket_, [seen](uint32_t now) { return now == seen; });
            if (stopping_.load()) return;
            (*job_)(worker);
            if (pending_.fetch_sub(1, std::memory_order_acq_rel) == 1) pending_.notify_all();
        }
    }

    std::vector<std::thread> crew_;
    std::atomic<uint32_t> ticket_{0};
    std::atomic<int> pending_{0};
    std::atomic<bool> stopping_{false};
    const std::function<void(int)>* job_ = nullptr;
};

}  // namespace longshort
