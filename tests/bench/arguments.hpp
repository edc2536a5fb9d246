// Arguments of the benchmark programs: key=value, every key known, every number in its range.
// Throws std::invalid_argument with a line for people; the program exits 2 with it.
#pragma once

#include <algorithm>
#include <charconv>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>

namespace reachd::bench {

class Arguments {
  public:
    /// `defaults` names every key there is.
    Arguments(int count, char** values, std::map<std::string, std::string> defaults)
        : values_(std::move(defaults)) {
        for (int i = 1; i < count; ++i) {
            const std::string_view argument = values[i];
            const std::size_t split = std::min(argument.find('='), argument.size());
            const auto known = values_.find(std::string(argument.substr(0, split)));
            if (known == values_.end() || split == argument.size()) {
                throw std::invalid_argument("unknown argument " + std::string(argument) +
                                            "; known, as key=value:" + keys());
            }
            known->second = argument.substr(split + 1);
        }
    }

    const std::string& text(const std::string& key) const { return values_.at(key); }

    template <class Number>
    Number number(const std::string& key, Number least, Number most) const {
        const std::string& value = text(key);
        Number result{};
        const auto [end, error] =
            std::from_chars(value.data(), value.data() + value.size(), result);
        if (error != std::errc{} || end != value.data() + value.size() || !(result >= least) ||
            !(result <= most)) {
            throw std::invalid_argument(key + "=" + value + ": want a number from " +
                                        std::to_string(least) + " to " + std::to_string(most));
        }
        return result;
    }

  private:
    std::string keys() const {
        std::string all;
        for (const auto& entry : values_) {
            all += ' ' + entry.first;
        }
        return all;
    }

    std::map<std::string, std::string> values_;
};

}  // namespace reachd::bench
