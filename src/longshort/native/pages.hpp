// Memory for large results.
//
// The system hands out memory page by page, each zeroed first, which for hundreds of megabytes takes about as long as
// computing what goes there. So the block that was given back last is kept for the next result. Until then the system
// may have its pages when it runs short; no second block is kept.
#pragma once
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace longshort {

constexpr std::size_t LARGE_PAGE = std::size_t(1) << 21;

struct Block {
    char* begin;
    std::size_t size;
};

#if defined(__linux__)

constexpr std::size_t LARGEST_KEPT = std::size_t(1) << 30;
inline std::atomic<Block*> spare{nullptr};

inline void unmap(Block* block) {
    if (!block) return;
    munmap(block->begin, block->size);
    delete block;
}

inline Block* take_block(std::size_t bytes) {
    const std::size_t size = (bytes + LARGE_PAGE - 1) / LARGE_PAGE * LARGE_PAGE;
    Block* kept = spare.exchange(nullptr);
    if (kept && kept->size >= size && kept->size / 2 <= size) return kept;
    unmap(kept);
    void* all = mmap(nullptr, size + LARGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED) throw std::bad_alloc();
    char* const begin = static_cast<char*>(all);
    const std::size_t skip = (LARGE_PAGE - std::uintptr_t(begin) % LARGE_PAGE) % LARGE_PAGE;
    if (skip) munmap(begin, skip);
    munmap(begin + skip + size, LARGE_PAGE - skip);
    madvise(begin + skip, size, MADV_HUGEPAGE);
    return new Block{begin + skip, size};
}

inline void give_block(Block* block) noexcept {
    if (block->size > LARGEST_KEPT || madvise(block->begin, block->size, MADV_FREE) != 0) return unmap(block);
    unmap(spare.exchange(block));
}

#else

inline Block* take_block(std::size_t bytes) {
    return new Block{static_cast<char*>(::operator new(bytes, std::align_val_t(64))), bytes};
}
inline void give_block(Block* block) noexcept {
    ::operator delete(block->begin, std::align_val_t(64));
    delete block;
}

#endif

// Threads that write into the same new page wait for one another. So pages are asked for a little ahead, each by one
// thread while the others compute. Advice only: where it is refused nothing changes.
class NewPages {
public:
    NewPages(double* begin, int64_t size) {
#if defined(__linux__)
        begin_ = (uintptr_t(begin) + LARGE_PAGE - 1) / LARGE_PAGE * LARGE_PAGE;
        const uintptr_t end = uintptr_t(begin + size) / LARGE_PAGE * LARGE_PAGE;
        if (end > begin_ && sysconf(_SC_PAGESIZE) == 4096) n_ = int64_t((end - begin_) / LARGE_PAGE);
#else
        (void)begin, (void)size;
#endif
    }
    void ask(const double* before) {
#if defined(__linux__)
        if (claimed_ >= n_) return;
        const int64_t wanted = std::min(n_, int64_t((uintptr_t(before) - begin_) / LARGE_PAGE) + AHEAD);
        for (int64_t k; claimed_ < wanted && (k = claimed_++) < n_;)
            madvise((void*)(begin_ + uintptr_t(k) * LARGE_PAGE), LARGE_PAGE, POPULATE_WRITE);
#else
        (void)before;
#endif
    }

private:
    static constexpr int64_t AHEAD = 3;
    static constexpr int POPULATE_WRITE = 23;  // MADV_POPULATE_WRITE: Linux 5.14
    uintptr_t begin_ = 0;
    int64_t n_ = 0;
    std::atomic<int64_t> claimed_{0};
};

}  // namespace longshort
