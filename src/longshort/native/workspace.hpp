// Scratch memory for one batch, lent out and handed back: a fleet of a hundred models holds as many as train at the
// same moment, and no batch pays for fresh pages.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace longshort {

class Workspace {
public:
    explicit Workspace(std::size_t bytes) : block_(borrow(bytes)) {}
    ~Workspace() { give_back(std::move(block_)); }
    Workspace(const Workspace&) = delete;
    Workspace& operator=(const Workspace&) = delete;

    template <class T>
    T* as() const {
        return reinterpret_cast<T*>(block_.memory.get());
    }

private:
    static constexpr std::size_t page = 4096, huge_page = std::size_t(2) << 20;
    static constexpr std::size_t kept_blocks = 8;
    static constexpr std::size_t largest_kept = std::size_t(64) << 20;

    static std::align_val_t alignment_of(std::size_t bytes) {
        return std::align_val_t(bytes >= huge_page ? huge_page : page);
    }
    struct Free {
        std::size_t bytes;
        void operator()(std::byte* p) const { ::operator delete(p, alignment_of(bytes)); }
    };
    using Memory = std::unique_ptr<std::byte, Free>;
    struct Block {
        Memory memory;
        std::size_t bytes = 0;
    };
    struct Shelf {
        std::mutex mutex;
        std::vector<Block> blocks;
    };

    static Shelf& shelf() {
        static Shelf* shelf = new Shelf;  // never destroyed: a daemon thread may still train at exit
        return *shelf;
    }

    static Block borrow(std::size_t bytes) {
        {
            std::lock_guard lock(shelf().mutex);
            auto& blocks = shelf().blocks;
            auto best = blocks.end();
            for (auto b = blocks.begin(); b != blocks.end(); ++b)
                if (b->bytes >= bytes && (best == blocks.end() || b->bytes < best->bytes)) best = b;
            if (best != blocks.end()) {
                Block block = std::move(*best);
                blocks.erase(best);
                return block;
            }
        }
        Block block;
        block.memory = Memory(static_cast<std::byte*>(::operator new(bytes, alignment_of(bytes))), Free{bytes});
        block.bytes = bytes;
#if defined(__linux__)
        // The kernels stride through megabytes: with small pages they would miss the address cache all the time.
        if (bytes >= huge_page) madvise(block.memory.get(), bytes, MADV_HUGEPAGE);
#endif
        return block;
    }

    static void give_back(Block block) {
        if (!block.memory || block.bytes > largest_kept) return;
        std::lock_guard lock(shelf().mutex);
        auto& blocks = shelf().blocks;
        if (blocks.size() == kept_blocks) blocks.erase(blocks.begin());
        blocks.push_back(std::move(block));
    }

    Block block_;
};

}  // namespace longshort
