#include "common/snapshot.hpp"

namespace reachd {

std::string exposition_label_value(std::string_view value) {
    std::string escaped;
    escaped.reserve(value.size());
    for (const char character : value) {
        switch (character) {
            case '\\': escaped += "\\\\"; break;
            case '"': escaped += "\\\""; break;
            case '\n': escaped += "\\n"; break;
            default: escaped += character;
        }
    }
    return escaped;
}

namespace {

constexpr std::string_view before_name = "peer=\"";
constexpr std::string_view before_address = "\",address=\"";

/// The inverse of exposition_label_value.
std::string unescaped(std::string_view text) {
    std::string value;
    value.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '\\' && i + 1 < text.size()) {
            ++i;
            value += text[i] == 'n' ? '\n' : text[i];
        } else {
            value += text[i];
        }
    }
    return value;
}

}  // namespace

PeerIdentity::PeerIdentity(std::string_view name,
                           std::string_view address,
                           PeerKind kind,
                           PeerDetails details)
    : details_(details == PeerDetails{} ? nullptr
                                        : std::make_unique<const PeerDetails>(std::move(details))),
      kind_(kind) {
    const std::string name_text = exposition_label_value(name);
    const std::string address_text = exposition_label_value(address);
    name_bytes_ = static_cast<std::uint32_t>(name_text.size());
    label_text_.reserve(before_name.size() + name_text.size() + before_address.size() +
                        address_text.size() + 1);
    label_text_.append(before_name).append(name_text).append(before_address);
    label_text_.append(address_text).append("\"");
}

std::string PeerIdentity::name() const {
    return unescaped(std::string_view(label_text_).substr(before_name.size(), name_bytes_));
}

std::string PeerIdentity::address() const {
    const auto at = before_name.size() + name_bytes_ + before_address.size();
    return unescaped(std::string_view(label_text_).substr(at, label_text_.size() - at - 1));
}

const PeerDetails& PeerIdentity::details() const {
    static const PeerDetails none;
    return details_ ? *details_ : none;
}

}  // namespace reachd
