// An intrusive list: a member is on one list at most, and leaves it when it is destroyed. One thread.
#pragma once

#include <cstddef>

#include "base/error.h"

namespace pgvigil::pool {

template <class T>
class List;

template <class T>
class Listed {
 public:
  Listed() = default;
  Listed(const Listed&) = delete;
  Listed& operator=(const Listed&) = delete;
  [[nodiscard]] List<T>* list() const { return list_; }

 protected:
  ~Listed() {
    if (list_ != nullptr) list_->remove(static_cast<T&>(*this));
  }

 private:
  friend class List<T>;
  List<T>* list_ = nullptr;
  T* before_ = nullptr;
  T* after_ = nullptr;
};

template <class T>
class List {
 public:
  List() = default;
  List(const List&) = delete;
  List& operator=(const List&) = delete;

  [[nodiscard]] bool empty() const { return first_ == nullptr; }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] T* first() const { return first_; }
  [[nodiscard]] T* last() const { return last_; }
  [[nodiscard]] T* after(const T& item) const { return node(item).after_; }

  void push_back(T& item) { insert(item, last_, nullptr); }
  void push_front(T& item) { insert(item, nullptr, first_); }
  void remove(T& item) {
    Listed<T>& own = node(item);
    PGV_ASSERT(own.list_ == this);
    (own.before_ != nullptr ? node(*own.before_).after_ : first_) = own.after_;
    (own.after_ != nullptr ? node(*own.after_).before_ : last_) = own.before_;
    own.list_ = nullptr;
    own.before_ = own.after_ = nullptr;
    --size_;
  }
  // Calls for every member; the call may remove the member it is given (and no other one).
  template <class F>
  void each(F&& call) {
    for (T* item = first_; item != nullptr;) {
      T* next = node(*item).after_;
      call(*item);
      item = next;
    }
  }

 private:
  static Listed<T>& node(T& item) { return item; }
  static const Listed<T>& node(const T& item) { return item; }
  void insert(T& item, T* before, T* after) {
    Listed<T>& own = node(item);
    PGV_ASSERT(own.list_ == nullptr);
    own.list_ = this;
    own.before_ = before;
    own.after_ = after;
    (before != nullptr ? node(*before).after_ : first_) = &item;
    (after != nullptr ? node(*after).before_ : last_) = &item;
    ++size_;
  }

  T* first_ = nullptr;
  T* last_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace pgvigil::pool
