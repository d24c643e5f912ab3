//! Words for the variants of an enumeration, as they stand in documents and in metrics.

macro_rules! labels {
    ($type:ident { $($variant:ident => $label:literal),* $(,)? }) => {
        impl $type {
            /// Every one there is.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// As it stands in documents and in metrics.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $label),*
                }
            }
        }
    };
}

pub(super) use labels;
